from __future__ import annotations

import pytest

from fairlead.cli.template import Template
from fairlead.model.errors import Invalid

DATA = {
    "Name": "web",
    "On": True,
    "Off": False,
    "Nil": None,
    "Count": 3,
    "List": ["a", "b"],
    "Empty": [],
    "Map": {"b": {"IP": "10.0.0.2"}, "a": {"IP": "10.0.0.1"}},
}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("plain", "plain"),
        ("{{.Name}}", "web"),
        ("{{ .Name }}/{{.Count}}", "web/3"),
        ("{{.On}} {{.Off}} {{.Nil}}", "true false <nil>"),
        ("{{.Missing}} {{.Map.x.y}}", "<no value> <no value>"),
        ("{{.List}} {{.Map.a}}", "[a b] map[IP:10.0.0.1]"),
        (r"{{.Name}}\t{{.Name}}\n", "web\tweb\n"),
        ("{{json .Map.a}}", '{"IP":"10.0.0.1"}'),
        ("{{json .Missing}}", "null"),
        ("{{.List | json}}", '["a","b"]'),
        ('{{join .List ","}}', "a,b"),
        ("{{upper .Name}} {{lower .Name}} {{title .Name}}", "WEB web Web"),
        ("{{len .List}}", "2"),
        ('{{index .Map "a"}}', "map[IP:10.0.0.1]"),
        ('{{(index .Map "b").IP}}', "10.0.0.2"),
        ('{{with index .Map "b"}}{{.IP}}{{end}}', "10.0.0.2"),
        ("{{index .List 1}}", "b"),
        ("{{range .Map}}{{.IP}} {{end}}", "10.0.0.1 10.0.0.2 "),
        ("{{range $k, $v := .Map}}{{$k}}={{$v.IP}};{{end}}", "a=10.0.0.1;b=10.0.0.2;"),
        ("{{range $v := .List}}{{$v}}{{$.Name}}{{end}}", "awebbweb"),
        ("{{range .Empty}}x{{else}}none{{end}}", "none"),
        ("{{range .Missing}}x{{end}}", ""),
        ("{{if .On}}yes{{else}}no{{end}}", "yes"),
        ("{{if .Off}}yes{{else}}no{{end}}", "no"),
        ('{{if eq .Name "web"}}it{{end}}', "it"),
        ('{{if and .On (not .Off)}}{{if ne .Name "db"}}both{{end}}{{end}}', "both"),
        ("a {{- .Name -}} b", "awebb"),
        ("{{/* nothing */}}x", "x"),
        ("{{println .Name}}", "web\n"),
    ],
)
def test_what_templates_say(template: str, text: str) -> None:
    assert Template(template).render(DATA) == text


@pytest.mark.parametrize(
    "template",
    [
        "{{",
        "{{.Name",
        "{{end}}",
        "{{else}}",
        "{{if .On}}",
        "{{odd .Name}}",
        "{{}}",
        "{{.Name x}}",
        "{{index .Count 1}}",
        "{{$x}}",
        "{{(.Name}}",
        "{{range .Count}}{{end}}",
        '{{"open}}',
        "{{json}}",
        "{{@}}",
    ],
)
def test_faulty_templates_are_told(template: str) -> None:
    with pytest.raises(Invalid, match="template"):
        Template(template).render(DATA)


def test_strict_templates_name_the_fields_there_are() -> None:
    with pytest.raises(Invalid, match="can't evaluate field Nme") as caught:
        Template("{{.Nme}}", strict=True).render({"Name": "x"})
    assert caught.value.hint == "there are: .Name"

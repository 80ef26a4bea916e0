from fairlead.library import AsyncNode as AsyncNode
from fairlead.library import Endpoint as Endpoint
from fairlead.library import LiveNetwork as LiveNetwork
from fairlead.library import LiveSandbox as LiveSandbox
from fairlead.library import NetError as NetError
from fairlead.library import Network as Network
from fairlead.library import Node as Node
from fairlead.library import PortBinding as PortBinding
from fairlead.library import PortRequest as PortRequest
from fairlead.library import Sandbox as Sandbox

__version__: str

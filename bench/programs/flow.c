// Traffic and its measurement.
//
//     flow serve PORT                   say when it listens, then accept, send one byte, close, for ever
//     flow echo PORT                    send back what comes, one connection at a time, for ever
//     flow connect ADDRESS PORT MS      connect, wait for the byte, close: how many a second
//     flow ping ADDRESS PORT MS         one byte there and back over one connection: median microseconds
//     flow ask ADDRESS PORT MS NAME     one DNS query (A) after the other: median microseconds
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SAMPLES_MAX = 1 << 20, PACKET = 512, PATIENCE_S = 5 };
static double samples[SAMPLES_MAX];

static double now(void) {
    struct timespec moment;
    clock_gettime(CLOCK_MONOTONIC, &moment);
    return moment.tv_sec + moment.tv_nsec / 1e9;
}

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static struct sockaddr_in place(const char *address, const char *port) {
    struct sockaddr_in result = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
    if (inet_pton(AF_INET, address, &result.sin_addr) != 1)
        fail("address");
    return result;
}

static int dial(struct sockaddr_in *to, int kind) {
    int fd = socket(AF_INET, kind, 0);
    struct timeval patience = {.tv_sec = PATIENCE_S};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (connect(fd, (struct sockaddr *)to, sizeof *to))
        fail("connect");
    return fd;
}

static int listen_at(const char *port) {
    struct sockaddr_in own = place("0.0.0.0", port);
    int fd = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(fd, (struct sockaddr *)&own, sizeof own) || listen(fd, 1024))
        fail("listen");
    return fd;
}

static void serve(const char *port) {
    int listener = listen_at(port);
    printf("%.6f\n", now());
    fflush(stdout);
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        if (fd < 0)
            continue;
        send(fd, "x", 1, MSG_NOSIGNAL);
        close(fd);
    }
}

static void echo(const char *port) {
    int listener = listen_at(port), yes = 1;
    for (;;) {
        char data[PACKET];
        int fd = accept(listener, NULL, NULL);
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        for (long size; (size = recv(fd, data, sizeof data, 0)) > 0;)
            send(fd, data, size, MSG_NOSIGNAL);
        close(fd);
    }
}

// Closes with a reset: no end of the connection lingers, so that ports and tracking entries do not run out.
static void rush(struct sockaddr_in to, double seconds) {
    struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    double start = now();
    long done = 0;
    for (; now() - start < seconds; done++) {
        char byte;
        int fd = dial(&to, SOCK_STREAM);
        if (recv(fd, &byte, 1, 0) != 1)
            fail("receive");
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        close(fd);
    }
    printf("%.1f\n", done / (now() - start));
}

static int by_size(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

// Sends the packet and waits for the answer, again and again.
static void converse(int fd, const char *packet, size_t size, double seconds) {
    double start = now();
    int count = 0;
    while (count < SAMPLES_MAX && now() - start < seconds) {
        char data[PACKET];
        double before = now();
        if (send(fd, packet, size, 0) != (long)size || recv(fd, data, sizeof data, 0) <= 0)
            fail("converse");
        samples[count++] = now() - before;
    }
    qsort(samples, count, sizeof *samples, by_size);
    printf("%.3f\n", samples[count / 2] * 1e6);
}

static size_t query(char *packet, const char *name) {
    static const char HEAD[] = {0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0}, TAIL[] = {0, 0, 1, 0, 1};
    size_t at = sizeof HEAD;
    memcpy(packet, HEAD, sizeof HEAD);
    for (const char *label = name; *label;) {
        size_t length = strcspn(label, ".");
        packet[at++] = (char)length;
        memcpy(packet + at, label, length);
        at += length;
        label += length + (label[length] == '.');
    }
    memcpy(packet + at, TAIL, sizeof TAIL);
    return at + sizeof TAIL;
}

int main(int count, char **words) {
    if (count == 3 && !strcmp(words[1], "serve"))
        serve(words[2]);
    if (count == 3 && !strcmp(words[1], "echo"))
        echo(words[2]);
    if (count < 5)
        return 2;
    struct sockaddr_in to = place(words[2], words[3]);
    double seconds = atof(words[4]) / 1e3;
    char packet[PACKET] = "x";
    if (!strcmp(words[1], "connect")) {
        rush(to, seconds);
    } else if (!strcmp(words[1], "ping")) {
        int fd = dial(&to, SOCK_STREAM), yes = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        converse(fd, packet, 1, seconds);
    } else if (!strcmp(words[1], "ask") && count == 6 && strlen(words[5]) < 250) {
        size_t size = query(packet, words[5]);
        converse(dial(&to, SOCK_DGRAM), packet, size, seconds);
    } else {
        return 2;
    }
    return 0;
}

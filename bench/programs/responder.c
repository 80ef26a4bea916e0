// The least that can be called a name server: every query is answered with one A record. It is the floor of the dns.*
// rows and, on the outside, the server that queries are forwarded to.
//
//     responder ADDRESS PORT
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { HEADER = 12, QUERY_MAX = 512 };
// name: a pointer to the question; type A; class IN; 600 s; 4 bytes: 192.0.2.1
static const unsigned char ANSWER[] = {0xc0, HEADER, 0, 1, 0, 1, 0, 0, 2, 0x58, 0, 4, 192, 0, 2, 1};

// Bytes of header and question; 0 when the question is not whole.
static long question_end(const unsigned char *query, long size) {
    long at = HEADER;
    while (at < size && query[at])
        at += query[at] + 1;
    at += 5; // the root label, type and class
    return at <= size ? at : 0;
}

int main(int count, char **words) {
    if (count != 3)
        return 2;
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons(atoi(words[2]))};
    inet_pton(AF_INET, words[1], &own.sin_addr);
    int listener = socket(AF_INET, SOCK_DGRAM, 0);
    if (bind(listener, (struct sockaddr *)&own, sizeof own)) {
        perror("bind");
        return 1;
    }
    unsigned char data[QUERY_MAX + sizeof ANSWER];
    for (;;) {
        struct sockaddr_in client;
        socklen_t length = sizeof client;
        long size = recvfrom(listener, data, QUERY_MAX, 0, (struct sockaddr *)&client, &length);
        long end = size > HEADER ? question_end(data, size) : 0;
        if (!end)
            continue;
        data[2] |= 0x84;         // a response, authoritative
        data[3] = 0x80;          // recursion available, no error
        memset(data + 6, 0, 6);  // counts of answers, authorities, additional records
        data[7] = 1;
        memcpy(data + end, ANSWER, sizeof ANSWER);
        sendto(listener, data, end + sizeof ANSWER, 0, (struct sockaddr *)&client, length);
    }
}

// The whole of a container: waits until it is told to end. As process 1 of a benchmark's host it also reaps orphans.
#include <signal.h>
#include <unistd.h>

static void end(int number) {
    (void)number;
    _exit(0);
}

int main(void) {
    signal(SIGCHLD, SIG_IGN);
    signal(SIGTERM, end);
    signal(SIGINT, end);
    for (;;)
        pause();
}

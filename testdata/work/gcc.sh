cat > a.c <<'X'
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
static void *f(void *p) { *(int *)p = 42; return p; }
int main(void) { pthread_t t; int *n = malloc(sizeof *n); pthread_create(&t, 0, f, n); pthread_join(t, 0); printf("%d\n", *n); free(n); return 0; }
X
printf 'all: a.o\n\tgcc -pthread -o a a.o\na.o: a.c\n\tgcc -O2 -g -c a.c\n' > Makefile
make -s -j4; [ "$(./a)" = 42 ]
gcc -flto=2 -o lto a.c; ./lto; gcc -static -o st a.c; ./st; gcc -fsanitize=undefined -o ub a.c; ./ub
gcc -fsanitize=thread -o ts a.c; ./ts
gcc -fsanitize=address -o as a.c; ASAN_OPTIONS=detect_leaks=0 ./as

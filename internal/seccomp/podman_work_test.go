package seccomp_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/ccc-dev/ccc/internal/seccomp"
)

// workshop are the arguments of mmdebstrap that make an image with ordinary
// tools, and those that the variants are for.
var workshop = []string{
	"--variant=minbase", "--mode=unshare", "--format=tar", "--quiet",
	"--include=bash,bubblewrap,ca-certificates,gcc,git,jq,libc6-dev,make,nodejs,procps,python3,ripgrep,strace,xz-utils",
	"--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/locale/*",
	"trixie",
}

// workshopImage returns an image made of these. It is made once for each change
// of the list, which takes a minute or two.
func workshopImage(t *testing.T, h *host) string {
	t.Helper()
	sum := sha256.Sum256([]byte(strings.Join(workshop, "\n")))
	tag := "localhost/ccc-test-seccomp:" + hex.EncodeToString(sum[:6])
	if h.command(t.Context(), nil, "image", "exists", tag).Run() == nil {
		return tag
	}
	var said bytes.Buffer
	debian := exec.CommandContext(t.Context(), "mmdebstrap", append(slices.Clone(workshop), "-")...)
	debian.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + os.Getenv("HOME"), "SOURCE_DATE_EPOCH=1767225600"}
	debian.Stderr = &said
	out, err := debian.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := debian.Start(); err != nil {
		t.Fatal(err)
	}
	load := h.command(t.Context(), nil, "import", "--quiet", "-", tag)
	load.Stdin = out
	loaded, loadErr := load.CombinedOutput()
	if err := debian.Wait(); err != nil || loadErr != nil {
		// Half an image must not pass for the image next time.
		_ = h.command(context.Background(), nil, "rmi", "--force", tag).Run()
		t.Fatalf("make the image: %v, %v\n%s%s", err, loadErr, &said, loaded)
	}
	return tag
}

// work runs a script in the workshop under a profile.
func (h *host) work(t *testing.T, image, profile, script string) (string, error) {
	t.Helper()
	args := slices.Concat([]string{"run", "--rm", "--init"}, hardened,
		[]string{"--tmpfs", "/tmp:rw,exec,nosuid,nodev,size=512m,mode=1777", "--env", "HOME=/tmp", "--workdir", "/tmp"})
	if profile != stock {
		args = append(args, "--security-opt", "seccomp="+h.profiles[profile])
	}
	out, err := h.command(t.Context(), nil, append(args, image, "bash", "-euo", "pipefail", "-c", script)...).CombinedOutput()
	return string(out), err
}

// S12, as far as it needs no network: the tools that agents use, each doing
// something that is more than printing its version. Only the leak check of the
// address sanitizer is left out, since it traces the program that it is part of.
var chores = map[string]string{
	"shell": `
		seq 1000 | sort -rn | head -n 3 | tr '\n' ' ' > out; grep -q '1000 999 998' out
		diff <(echo a) <(echo a)
		mkfifo pipe; (echo through > pipe &) ; read -r word < pipe; [ "$word" = through ]
		coproc cat; echo co >&"${COPROC[1]}"; read -r word <&"${COPROC[0]}"; [ "$word" = co ]
		trap 'echo caught > sig' USR1; kill -USR1 $$; [ "$(cat sig)" = caught ]
		sleep 30 & kill %1; wait %1 || true
		seq 20 | xargs -P 4 -n 1 sh -c 'echo $0 > n.$0'; [ "$(cat n.* | wc -l)" = 20 ]
		timeout 1 sleep 0.01; nice -n 5 true; setsid true; ps aux > procs; find /usr -xdev -name bash > found; ulimit -n > limits
		(flock -n 9) 9> lock; cp -a /etc/alternatives c; mv c c2; rm -r c2; touch -d 2001-01-01 old; stat old > st; ln -s a b; chmod 600 lock; df > disks; truncate -s 1m big; shred -n 1 big`,
	"git": `
		git config --global user.email a@example.com; git config --global user.name A; git config --global init.defaultBranch main
		git init -q p; cd p; for i in $(seq 50); do echo "$i" > "f$i"; done; git add .; git commit -qm one
		git checkout -qb side; echo more >> f1; git commit -qam two; git checkout -q main; git merge -q --no-ff -m three side
		git worktree add -q ../w side; git stash list; git gc -q; git fsck --strict; git log --oneline --graph
		cd ..; git clone -q p c; git -C p bundle create -q ../b main; git clone -q b d -b main; git -C c grep -q 50
		(cd c; echo x > new; git stash -qu; git stash pop -q; git bisect start HEAD HEAD~1; git bisect reset)`,
	"node": `cat > a.js <<'X'
		const { Worker, isMainThread, parentPort } = require('node:worker_threads');
		if (!isMainThread) { parentPort.postMessage(6 * 7); return; }
		const fs = require('node:fs'), cp = require('node:child_process'), http = require('node:http'), assert = require('node:assert');
		const { pipeline } = require('node:stream/promises'), zlib = require('node:zlib'), crypto = require('node:crypto'), os = require('node:os');
		(async () => {
			assert.equal(await new Promise((ok, no) => new Worker(__filename).on('message', ok).on('error', no)), 42);
			assert.equal(cp.execSync('echo child').toString(), 'child\n');
			const child = cp.fork('-e', [], { execArgv: ['-e', 'process.send(process.pid)'] });
			assert.equal(await new Promise(ok => child.on('message', ok)), child.pid);
			const server = http.createServer((q, r) => fs.createReadStream(process.execPath, { end: 99999 }).pipe(r));
			await new Promise(ok => server.listen(0, '127.0.0.1', ok));
			const body = await (await fetch('http://127.0.0.1:' + server.address().port)).arrayBuffer();
			assert.equal(body.byteLength, 100000); server.close(); server.closeAllConnections();
			const unix = http.createServer((q, r) => r.end('unix')); await new Promise(ok => unix.listen('/tmp/s', ok));
			assert.equal(await new Promise(ok => http.get({ socketPath: '/tmp/s' }, r => r.on('data', d => ok(d.toString())))), 'unix'); unix.close();
			await pipeline(fs.createReadStream(process.execPath), zlib.createGzip({ level: 1 }), fs.createWriteStream('/tmp/node.gz'));
			fs.cpSync('/etc', '/tmp/etc', { recursive: true }); fs.rmSync('/tmp/etc', { recursive: true });
			const seen = new Promise(ok => { const w = fs.watch('/tmp', () => { w.close(); ok(); }); }); fs.writeFileSync('/tmp/watched', 'x'); await seen;
			await new Promise((ok, no) => crypto.scrypt('a', 'b', 64, e => e ? no(e) : ok())); crypto.randomBytes(32); crypto.generateKeyPairSync('ed25519');
			assert(os.cpus().length > 0); os.networkInterfaces(); process.title = 'x';
			await require('node:dns').promises.lookup('localhost');
		})().then(() => console.log('ok'), e => { console.error(e); process.exit(1); });
X
		node a.js; node --test --test-reporter=dot -e '' 2> /dev/null || node -e 'require("node:test").test("t", () => {})'`,
	"python": `cat > a.py <<'X'
import asyncio, concurrent.futures, ctypes, fcntl, hashlib, mmap, multiprocessing, os, queue, selectors, shutil, signal, socket, sqlite3, ssl, subprocess, sys, tarfile, tempfile, threading, time, zipfile
from multiprocessing import shared_memory

def square(n): return n * n

def main():
    assert subprocess.run(['cat'], input=b'in', capture_output=True).stdout == b'in'
    assert subprocess.check_output('echo $((6*7))', shell=True) == b'42\n'
    pid = os.posix_spawn('/bin/true', ['true'], {}); assert os.waitpid(pid, 0)[1] == 0
    fd = os.pidfd_open(os.getpid()); os.close(fd)
    q = queue.Queue(); ts = [threading.Thread(target=q.put, args=(i,)) for i in range(20)]
    [t.start() for t in ts]; [t.join() for t in ts]; assert q.qsize() == 20
    for method in 'fork', 'spawn', 'forkserver':
        with multiprocessing.get_context(method).Pool(2) as pool: assert pool.map(square, range(5)) == [0, 1, 4, 9, 16]
    shm = shared_memory.SharedMemory(create=True, size=4096); shm.buf[0] = 7; shm.close(); shm.unlink()
    with concurrent.futures.ProcessPoolExecutor(2) as ex: assert list(ex.map(square, [3])) == [9]
    async def aio():
        p = await asyncio.create_subprocess_exec('cat', stdin=-1, stdout=-1); out, _ = await p.communicate(b'x'); assert out == b'x'
        async def serve(r, w): w.write(await r.readline()); await w.drain(); w.close()
        s = await asyncio.start_server(serve, '127.0.0.1', 0); r, w = await asyncio.open_connection(*s.sockets[0].getsockname())
        w.write(b'line\n'); assert await r.readline() == b'line\n'; w.close(); s.close()
        await asyncio.to_thread(time.sleep, 0)
    asyncio.run(aio())
    a, b = socket.socketpair(); socket.send_fds(a, [b'f'], [0]); _, fds, _, _ = socket.recv_fds(b, 1, 1); os.close(fds[0])
    u = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); u.bind(('::1', 0)); u.sendto(b'd', u.getsockname()); assert u.recv(1) == b'd'
    socket.getaddrinfo('localhost', 80); socket.if_nameindex()
    db = sqlite3.connect('/tmp/db'); db.execute('pragma journal_mode=wal'); db.execute('create table t(x)'); db.execute('insert into t values(1)'); db.commit()
    d = tempfile.mkdtemp(); shutil.copyfile(sys.executable, d + '/py'); os.symlink('py', d + '/link'); os.chmod(d + '/py', 0o700)
    os.chmod(d + '/py', 0o755, follow_symlinks=False); shutil.copytree(d, d + '2', symlinks=True)
    with tarfile.open('/tmp/t.tar', 'w') as t: t.add(d, 'd')
    with tarfile.open('/tmp/t.tar') as t: t.extractall('/tmp/untar', filter='tar')
    m = mmap.mmap(-1, 8192); m[:2] = b'mm'; m.madvise(mmap.MADV_DONTNEED); m.close()
    f = open('/tmp/l', 'w'); fcntl.flock(f, fcntl.LOCK_EX); fcntl.lockf(f, fcntl.LOCK_EX); os.posix_fallocate(f.fileno(), 0, 4096); os.fsync(f.fileno())
    os.memfd_create('m'); os.eventfd(0); os.mkfifo('/tmp/ff')
    signal.signal(signal.SIGALRM, lambda *a: None); signal.setitimer(signal.ITIMER_REAL, 0.01); signal.pause()
    os.sched_setaffinity(0, os.sched_getaffinity(0)); os.nice(1); os.getpriority(0, 0); os.getrandom(8); ctypes.CDLL(None).getpid()
    ssl.create_default_context(); hashlib.scrypt(b'a', salt=b'b', n=2, r=1, p=1); import pty; pty.spawn(['true'])

if __name__ == '__main__': main(); print('ok')
X
		python3 a.py`,
	"gcc": `cat > a.c <<'X'
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
		gcc -fsanitize=address -o as a.c; ASAN_OPTIONS=detect_leaks=0 ./as`,
	"archives": `
		mkdir d; seq 1000 > d/a; ln -s a d/l; ln d/a d/h; tar cf t.tar d; tar czf t.tgz d; tar cJf t.txz d
		for f in t.tar t.tgz t.txz; do mkdir "o.$f"; tar xf "$f" -C "o.$f" --same-permissions; diff -r d "o.$f/d"; done; xz -T2 -k t.tar; gzip -k t.tar`,
	"search": `
		mkdir s; for i in $(seq 200); do echo "line $i needle$i" > "s/$i.txt"; done
		[ "$(rg -c 'needle1[0-9]{2}' s | wc -l)" = 100 ]; rg --files s | wc -l; rg -j4 --mmap needle7 s > hits; echo '{"a":[1,2]}' | jq -e '.a[1] == 2'`,
}

func TestPodmanOrdinaryWork(t *testing.T) {
	h := openPodman(t)
	image := workshopImage(t, h)
	// The other variants allow more, and nothing less.
	for name, script := range chores {
		t.Run(name, func(t *testing.T) {
			if out, err := h.work(t, image, seccomp.Agent, script); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// What the variants are for works with them, and only with them.
func TestPodmanVariantsAreForSomething(t *testing.T) {
	h := openPodman(t)
	image := workshopImage(t, h)
	for _, c := range []struct{ name, only, script string }{
		{"strace", seccomp.Debug, `strace -f -o trace sh -c 'true; true'; grep -q execve trace`},
		{"leak sanitizer", seccomp.Debug, `printf 'int main(void){return 0;}' > a.c; gcc -fsanitize=address a.c; ./a.out`},
		{"bubblewrap", seccomp.Nested, `bwrap --unshare-user --unshare-pid --ro-bind / / --dev /dev --tmpfs /tmp sh -c 'id -u; touch /tmp/x; ! touch /x 2> /dev/null'`},
		{"unshare", seccomp.Nested, `unshare --user --map-root-user --mount sh -c 'mount -t tmpfs none /tmp && touch /tmp/x && umount /tmp'`},
	} {
		if c.name == "leak sanitizer" && yama(t) {
			t.Log("this host's Yama wants consent to tracing, which no profile lets a process give: no leak sanitizer here")
			continue
		}
		for _, v := range seccomp.Variants() {
			t.Run(fmt.Sprintf("%s/%s", c.name, v.Name), func(t *testing.T) {
				out, err := h.work(t, image, v.Name, c.script)
				if (err == nil) != (v.Name == c.only) {
					t.Errorf("%v\n%s", err, out)
				}
			})
		}
	}
}

// yama tells whether a process may trace only its descendants here.
func yama(t *testing.T) bool {
	t.Helper()
	scope, err := os.ReadFile("/proc/sys/kernel/yama/ptrace_scope")
	return err == nil && strings.TrimSpace(string(scope)) != "0"
}

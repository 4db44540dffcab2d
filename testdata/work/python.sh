cat > a.py <<'X'
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
python3 a.py

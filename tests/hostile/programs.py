"""Programs that attack: each is run in the sandbox, and the host says what came of it.

``host`` tells them more than an attacker would know: where the canaries are. They print whatever they get hold of.
"""

HEAD = """
import ctypes, json, os, signal, socket, subprocess, sys, threading, time
host = json.loads(sys.stdin.read())
libc = ctypes.CDLL(None, use_errno=True)
def attempt(action, *arguments):
    try:
        print(action(*arguments), flush=True)
    except BaseException as error:
        print(type(error).__name__, error, flush=True)
def write(path, text="pwned"):
    with open(path, "w") as file:
        file.write(text)
def read(path):
    return open(path, errors="replace").read(100_000)
"""

ESCAPES = {
    "write_host_files": "for folder in host['folders']: attempt(write, folder + '/' + host['mark'])",
    "overwrite_canary": "attempt(write, host['file'])",
    "delete_canary": "attempt(os.unlink, host['file'])",
    "read_canary": "attempt(read, host['file'])",
    "read_system_secrets": "for path in ('/etc/shadow', '/etc/passwd', '/root/.bashrc'): attempt(read, path)",
    "read_through_proc_root": """
for pid in ('self', '1', '2', str(host['victim'])):
    attempt(read, f'/proc/{pid}/root' + host['file'])
    attempt(os.listdir, f'/proc/{pid}/cwd')
""",
    "environment": "print(dict(os.environ)); os.system('env; printenv HF_TOKEN')",
    "environment_of_all_processes": """
for pid in filter(str.isdigit, os.listdir('/proc')):
    for name in ('environ', 'cmdline', 'maps', 'mountinfo'):
        attempt(read, f'/proc/{pid}/{name}')
""",
    "memory_of_victim": """
attempt(lambda: open(f"/proc/{host['victim']}/mem", 'rb').read(1))
attempt(lambda: libc.ptrace(16, host['victim'], 0, 0))
""",
    "tcp": "attempt(socket.create_connection, ('127.0.0.1', host['port']), 1)",
    "udp": "attempt(socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto, b'x', ('127.0.0.1', host['udp']))",
    "unix_socket": "s = socket.socket(socket.AF_UNIX); attempt(s.connect, host['socket'])",
    "abstract_socket": "s = socket.socket(socket.AF_UNIX); attempt(s.connect, chr(0) + host['abstract'])",
    "other_families": """
for family in (16, 17, 29, 38, 40, 44):
    attempt(socket.socket, family, socket.SOCK_RAW)
""",
    "name_server_and_outside": """
attempt(socket.getaddrinfo, 'example.org', 443)
attempt(socket.create_connection, ('192.0.2.1', 53), 1)
""",
    "kill_victim": "for pid in (host['victim'], host['harness']): attempt(os.kill, pid, 9); attempt(os.killpg, pid, 9)",
    "kill_everything": "attempt(os.kill, -1, 9)",
    "user_namespace": """
print(libc.unshare(0x10000000), libc.unshare(0x10020000), libc.syscall(56, 0x10000011, 0, 0, 0, 0))
os.system('unshare -Ur id; nsenter -t 1 -a id; bwrap --bind / / id')
""",
    "clone3_user_namespace": """
import struct
arguments = ctypes.create_string_buffer(struct.pack('11Q', 0x10000000, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0))
print(libc.syscall(435, arguments, 88), ctypes.get_errno())
""",
    "mounts": """
new, again, proc = (b'tmpfs', b'/usr', b'tmpfs', 0, 0), (b'none', b'/', 0, 0x1020, 0), (b'proc', b'/tmp', b'proc', 0, 0)
for arguments in (new, again, proc):
    print(libc.mount(*arguments), libc.umount2(b'/tmp', 2), libc.chroot(b'/tmp'), ctypes.get_errno())
attempt(write, '/' + host['mark'])
""",
    "kernel_surface": """
for call in (321, 425, 250, 248, 298, 323, 101, 175, 246, 304, 319, 29, 310):
    print(call, libc.syscall(call, 0, 0, 0, 0), ctypes.get_errno())
""",
    "x32_and_personality": "print(libc.syscall(0x40000000 + 39), libc.personality(0x0400000), ctypes.get_errno())",
    "terminal_injection": """
import fcntl
for fd in (0, 1, 2):
    attempt(fcntl.ioctl, fd, 0x5412, b'x')
attempt(lambda: os.open('/dev/tty', os.O_RDWR))
""",
    "inherited_descriptors": """
for fd in range(3, 64):
    try:
        print(fd, os.readlink(f'/proc/self/fd/{fd}'), os.read(fd, 100), os.write(fd, b'x'))
    except OSError:
        pass
""",
    "write_own_input": "attempt(os.pwrite, 0, b'pwned', 0); attempt(os.ftruncate, 0, 10**9)",
    "raise_limits": """
import resource
for kind in range(16):
    attempt(resource.setrlimit, kind, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
""",
    "setuid": """
for user in (0, 1, 54321):
    attempt(os.setuid, user)
os.system('su -c id; sudo -n id; mount; umount /proc')
""",
    "devices": """
for name in ('dev/vda', 'dev/mem', 'dev/kmsg', 'dev/kvm', 'dev/fuse', 'proc/kcore', 'proc/sysrq-trigger'):
    attempt(os.open, '/' + name, os.O_RDWR)
attempt(os.mknod, '/tmp/vda', 0o60666, os.makedev(254, 0))
attempt(write, '/proc/sys/kernel/core_pattern', '|/tmp/x')
attempt(write, '/proc/self/oom_score_adj', '-1000')
""",
    "symlinks": "attempt(os.symlink, host['file'], '/tmp/result.json'); attempt(write, '/tmp/result.json')",
}

BOMBS = {
    "fork_bomb": """
while True:
    try:
        os.fork()
    except OSError:
        pass
""",
    "thread_bomb": """
threads = []
while True:
    try:
        threads.append(threading.Thread(target=time.sleep, args=(60,), daemon=True)); threads[-1].start()
    except RuntimeError:
        time.sleep(60)
""",
    "allocate": "held = [bytearray(os.urandom(1 << 24)) * 16 for _ in range(1000)]",
    "allocate_in_children": """
for _ in range(8):
    if os.fork() == 0:
        held = bytearray(os.urandom(1 << 20)) * 400
        time.sleep(60)
time.sleep(60)
""",
    "allocate_from_a_thread": """
def hog():
    for _ in range(8):
        if os.fork() == 0:
            held = bytearray(os.urandom(1 << 20)) * 200
            time.sleep(60)
thread = threading.Thread(target=hog); thread.start(); thread.join(); time.sleep(60)
""",
    "memory_files": "for i in range(100): fd = os.memfd_create(str(i)); os.write(fd, b'x' * (1 << 25))",
    "fill_scratch": """
for folder in ('/tmp', '/dev/shm', '/dev', '/var/tmp', '/run', '/box', '/'):
    try:
        for i in range(100):
            with open(f'{folder}/{i}', 'wb') as file:
                for _ in range(64):
                    file.write(b'x' * (1 << 20))
    except OSError as error:
        print(folder, error)
""",
    "empty_files": """
for i in range(10**7):
    os.mknod(f'/tmp/{i}')
""",
    "deep_folders": """
while True:
    os.mkdir('d'); os.chdir('d')
""",
    "endless_loop": "while True: pass",
    "sleep": "time.sleep(10**6)",
    "ignore_signals": """
for number in set(range(1, 65)) - {9, 19, 32, 33}:
    signal.signal(number, signal.SIG_IGN)
while True: time.sleep(1)
""",
    "spinning_children": """
for _ in range(7):
    if os.fork() == 0:
        while True: pass
while True: pass
""",
    "stop_itself": "os.kill(os.getpid(), signal.SIGSTOP)",
    "daemon": """
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.closerange(0, 3)
        while True: time.sleep(1)
    os._exit(0)
""",
    "daemon_that_holds_the_output": """
if os.fork() == 0:
    os.setsid()
    while True: time.sleep(1)
""",
    "flood": "while True: os.write(1, b'x' * 65536)",
    "flood_of_errors": "while True: os.write(2, b'x' * 65536)",
    "one_endless_line": "sys.stdout.write('x' * 300_000_000)",
    "close_output_and_stay": "os.closerange(0, 3)\nwhile True: time.sleep(1)",
    "deep_recursion": "sys.setrecursionlimit(10**9)\ndef f(): f()\nf()",
    "crash": "ctypes.string_at(0)",
    "huge_integer": "print(10 ** 10 ** 9)",
    "slow_pattern": "import re; re.match('(a+)+$', 'a' * 64 + 'b')",
}

PROGRAMS = {name: HEAD + source for name, source in (ESCAPES | BOMBS).items()}

# Runs a server for a test process, and ends it when its own standard input ends, which is when the test process does,
# however. Answers each line with one.
#
#   guard.py FOLDER COMMAND [ARGUMENT...]     the folder, which has the log, is removed at the end
import ctypes, os, shutil, signal, subprocess, sys, time

PR_SET_CHILD_SUBREAPER = 36
folder, command = sys.argv[1], sys.argv[2:]


def descendants():
    """Processes and their states, without those that have ended."""
    children = {}
    for number in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{number}/stat") as stat:
                state, parent = stat.read().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        children.setdefault(int(parent), []).append((int(number), state))
    found = children.get(os.getpid(), [])
    for process, _ in found:
        found.extend(children.get(process, []))
    return [(process, state) for process, state in found if state not in "ZX"]


def send(number, but_in=""):
    """Signals to all processes but those in some states; whether there were any."""
    to = [process for process, state in descendants() if state not in but_in]
    for process in to:
        try:
            os.kill(process, number)
        except ProcessLookupError:
            pass
    return bool(to)


def start():
    with open(f"{folder}/log", "ab") as log:
        subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def pause():
    # Until one is stopped it may start others.
    while send(signal.SIGSTOP, but_in="Tt"):
        time.sleep(0.001)


def resume():
    send(signal.SIGCONT)


def kill():
    # As the one to whom orphans are given, this process has no child left when all have ended.
    while True:
        send(signal.SIGKILL)
        try:
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                time.sleep(0.001)
        except ChildProcessError:
            return


def running():
    return "yes" if descendants() else "no"


# What a terminal sends to the tests is not for the server: it ends after them.
os.setsid()
ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
# Where Debian puts servers; only root's shells know it.
os.environ["PATH"] += ":/usr/sbin"
acts = {act.__name__: act for act in (start, pause, resume, kill, running)}
for line in sys.stdin:
    try:
        answer = acts[line.strip()]() or "done"
    except Exception as error:
        answer = f"error: {error!r}"
    try:
        print(answer, flush=True)
    except BrokenPipeError:
        break
kill()
shutil.rmtree(folder, ignore_errors=True)
# At its exit, Python would complain about a pipe that nobody reads any more.
os._exit(0)

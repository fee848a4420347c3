"""Breadth-first exploration of a state space; the shortest bad path is the first one found."""
import sys
import time
from collections import deque


class Bad(Exception):
    """A property does not hold in a reachable state."""


def put(tup, i, v):
    """`tup` with its item `i` replaced."""
    return tup[:i] + (v,) + tup[i + 1:]


def explore(init, succ, limit=6_000_000):
    """Visits every state reachable from `init`; `succ` yields (label, state) and raises Bad."""
    t0 = time.time()
    seen = {init: None}
    queue = deque([init])
    while queue:
        s = queue.popleft()
        try:
            for label, t in succ(s):
                if t not in seen:
                    seen[t] = (s, label)
                    queue.append(t)
        except Bad as e:
            path, x = [], s
            while seen[x] is not None:
                x, label = seen[x]
                path.append(label)
            return dict(ok=False, why=str(e), states=len(seen), secs=time.time() - t0, path=path[::-1])
        if len(seen) > limit:
            return dict(ok=None, why='state limit', states=len(seen), secs=time.time() - t0, path=[])
    return dict(ok=True, why='', states=len(seen), secs=time.time() - t0, path=[])


def main(runs):
    """Runs those whose name contains the first argument; -v prints the path of each mutant that is caught."""
    args = [a for a in sys.argv[1:] if not a.startswith('-')]
    failed = 0
    for name, model, options, want in runs:
        if args and not any(name.startswith(a) for a in args):
            continue
        res = explore(*model(**options))
        good = res['ok'] is want
        failed += not good
        print(f"{'PASS' if good else 'FAIL'} {name}: {'holds' if res['ok'] else res['why']} "
              f"[{res['states']} states, {res['secs']:.1f}s]", flush=True)
        if (not good or '-v' in sys.argv) and res['path']:
            print('   ', ' ; '.join(res['path']))
    sys.exit(1 if failed else 0)

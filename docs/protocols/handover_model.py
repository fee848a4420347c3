"""E  what surrounds a partition that moves: rolls of a lane, suspicion and fencing, planned hand-overs, the loss of the
metadata store and a restore from the bucket.

Sessions 0 and 1 are brokers; 2 is the broker of the new era after a restore. Every one of them may act at any
time, however long ago it was replaced: nothing here reads a clock. That a lane ends where its seal is, is taken from model A;
that a root is replaced by compare-and-swap, from model C.
"""
from explore import Bad, put

# lanes 0 and 1 belong to session 0, which may roll from one to the other; 2 and 3 to sessions 1 and 2
OWNER = (0, 0, 1, 2)
LEADER = ('ph', 'e', 'view', 'start', 'log', 'lane', 'heard')
IDLE = ('idle', 0, None, 0, (), None, frozenset())


def modelE(M=2, EPOCHS=2, mut=''):
    # record = (epoch, leader, open, starts, tail): who led before and may have what the root has not
    # root = (epoch, contents, version, starts); content of an offset = epoch that wrote it
    # sess[k] = A(ctive), F(encing), S(ealed); lanes[x] = (absent|up|sealed, {(offset, epoch)}); named: lane 1 is in the record
    # era = (0,) | (1,) raised | (2, lanes that were listed) | (3, the same), restored
    init = ((0, None, 0, (), frozenset()), ('A',)*3, 0,
            (('up', frozenset()), ('absent', frozenset()), ('up', frozenset()), ('up', frozenset())),
            (0, (), 0, ()), (IDLE,)*3, (), (0,))
    NAMES = ('record', 'sess', 'named', 'lanes', 'root', 'ldr', 'truth', 'era')

    def tail_of(s, sessions):
        """What follows the root in the lanes of some sessions that whoever looks now would find."""
        starts = s['record'][3] if s['era'][0] in (0, 3) else s['root'][3]
        found = {x for x in range(4) if OWNER[x] in sessions and s['lanes'][x][0] != 'absent'}
        if s['era'][0] == 0 and not s['named']: found -= {1}
        if s['era'][0] >= 2: found &= s['era'][1] | {3}
        out, o = [], len(s['root'][1])
        while True:
            at = [e for x in found for (off, e) in s['lanes'][x][1]
                  if off == o and all(off < start for ep, start in starts if ep > e)]
            if not at: return tuple(out)
            out.append(max(at)); o += 1

    def check(lab, s, before):
        epoch, leader, _, starts, tail = s['record']
        if epoch < before: raise Bad(f'{lab}: the record goes back from epoch {before} to {epoch}')
        if len({ep for ep, _ in starts}) < len(starts): raise Bad(f'{lab}: epoch {starts[-1][0]} is opened twice')
        who = {0, 1} if s['era'][0] in (1, 2) else tail | {leader}
        log = s['root'][1] + tail_of(s, who)
        for o, c in enumerate(s['truth']):
            got = log[o] if o < len(log) else None
            if got != c: raise Bad(f'{lab}: offset {o} acked as {c}, whoever leads next reads {got}')

    def succ(s):
        s = dict(zip(NAMES, s))
        record, sess, named, lanes, root, ldr, truth, era = (s[n] for n in NAMES)
        epoch, leader, is_open, starts, tail = record
        r = []
        def add(lab, **kw):
            n = {**s, **kw}
            check(lab, n, epoch); r.append((lab, tuple(n[k] for k in NAMES)))
        def sealed(*which): return tuple(('sealed', ln[1]) if x in which else ln for x, ln in enumerate(lanes))

        # sessions are ended on mere suspicion; whoever does it sees the lanes that are named
        for k in range(3):
            own = {x for x in range(4) if OWNER[x] == k} - (set() if named else {1})
            if era[0] == 0 and k < 2 and sess[k] == 'A': add(f'suspect({k})', sess=put(sess, k, 'F'))
            if sess[k] == 'F' and era[0] == 0:
                for x in own:
                    if lanes[x][0] != 'sealed': add(f'seal({x})', lanes=sealed(x))
                if all(lanes[x][0] == 'sealed' for x in own): add(f'over({k})', sess=put(sess, k, 'S'))
        # the controller gives the partition of a session that ends, or nobody's, to one that is alive
        if era[0] == 0 and epoch < EPOCHS and (leader is None or sess[leader] != 'A'):
            for k in range(2):
                if sess[k] == 'A':
                    add(f'assign({epoch+1},{k})', record=(epoch+1, k, 0, starts, tail | ({leader} - {None})))
        # the metadata store is lost; a restore raises the era in the bucket, lists the lanes there, ends them, makes a record
        if era[0] == 0: add('wipe, raise', era=(1,), sess=('S', 'S', 'A'))
        if era[0] == 1: add('list', era=(2, frozenset(x for x in range(3) if lanes[x][0] != 'absent')))
        if era[0] == 2:
            open_ones = [x for x in era[1] if lanes[x][0] != 'sealed']
            for x in open_ones: add(f'restore.seal({x})', lanes=sealed(x))
            if not open_ones or mut == 'restore_without_seal':
                last = max([root[0], *(e for ln in lanes for _, e in ln[1])])
                add('restored', era=(3, era[1]), record=(last + (0 if mut == 'restore_same_epoch' else 10), 2, 0, root[3],
                    frozenset() if mut == 'restore_from_roots' else frozenset({0, 1})))

        for k in range(3):
            ph, e, view, start, log, lane, heard = ldr[k]
            def me(lab, m, **kw):
                nv = {**dict(zip(LEADER, ldr[k])), **m}
                add(f'B{k}.{lab}', ldr=put(ldr, k, tuple(nv[f] for f in LEADER)), **kw)
            out = dict(zip(LEADER, IDLE), ph='out', e=e)
            knows = era[0] == 0 or (era[0] == 3 and k == 2)           # can read the records of sessions
            if ph in ('idle', 'out') and leader == k and not is_open and epoch > e and knows:
                me(f'start({epoch})', dict(ph='seal', e=epoch, lane=OWNER.index(k)))
            if ph == 'seal' and knows and (all(sess[t] == 'S' for t in tail - {k}) or mut == 'open_without_seal'):
                if root[0] > e: me('fenced', out)
                else: me('read', dict(ph='p6', view=root, log=root[1] + tail_of(s, tail - {k})))
            if ph == 'p6':
                if view[2] != root[2]: me('P6.lost', dict(ph='seal', view=None, log=()))
                else:
                    nr = (e, root[1], root[2]+1, root[3] + ((e, len(log)),))
                    me('P6', dict(ph='p7', view=nr, start=len(log)), root=nr)
            if ph == 'p7':
                if epoch != e or not knows: me('P7.lost', out)
                else: me('P7', dict(ph='open'), record=(e, k, 1, starts + ((e, start),), tail),
                         truth=truth + log[len(truth):])
            if ph == 'unknown':                                       # the answer to the naming of the next leader was lost
                if mut == 'unknown_goes_on': me('goes on', dict(ph='open'))
                elif era[0] == 0: me('reads the record', dict(ph='parked') if epoch == e else out)
            if ph not in ('open', 'parked'): continue
            cur = lane if isinstance(lane, int) else 0
            if ph == 'open' and len(log) < M: me(f'issue({len(log)})', dict(log=log + (e,)))
            dur = {o for x in range(4) if OWNER[x] == k for (o, ep) in lanes[x][1] if ep == e} | heard
            for o in range(start, len(log)):
                if lanes[cur][0] == 'up' and (o, e) not in lanes[cur][1] and o >= len(view[1]):
                    add(f'B{k}.durable({o})', lanes=put(lanes, cur, ('up', lanes[cur][1] | {(o, e)})))
            hw = start
            while hw < len(log) and (hw in dur or hw < len(view[1])): hw += 1
            if hw > len(truth): add(f'B{k}.ack(<{hw})', truth=truth + log[len(truth):hw])
            if hw > len(view[1]):
                if view[2] != root[2]: me('ship.fenced', out)
                else:
                    nr = (e, log[:hw], root[2]+1, root[3])
                    me(f'ship(<{hw})', dict(view=nr), root=nr)
            # a roll: the new lane is named, made, and used once a look at the era shows no restore; the old one is closed
            # behind what was acknowledged, the rest is written anew
            if k == 0 and lane == 0:
                if mut == 'roll_unnamed': me('names no lane', dict(lane='named'))
                elif sess[0] == 'A' and era[0] == 0: me('names lane 1', dict(lane='named'), named=1)
            if lane == 'named':
                if lanes[1][0] == 'sealed': me('lane 1 is sealed', out)
                else: me('makes lane 1', dict(lane='made'), lanes=put(lanes, 1, ('up', lanes[1][1])))
            if lane == 'made':
                if era[0] > 0 and mut != 'no_look_at_era': me('era', out)
                else:
                    kept = frozenset((o, ep) for o, ep in lanes[0][1] if ep != e or o < len(truth))
                    closed = lanes if lanes[0][0] == 'sealed' else put(lanes, 0, ('sealed', kept))
                    had = frozenset(dur) if mut == 'roll_counts_the_old_lane' else frozenset()
                    me('rolls', dict(lane=1, heard=had), lanes=closed)
            # a planned move: producers wait, all is shipped, the next leader is named by the one before
            if ph == 'open' and k < 2 and era[0] == 0: me('parks', dict(ph='parked'))
            if ph == 'parked' and era[0] == 0:
                whole = hw == len(log) if mut == 'drain_before_ship' else len(view[1]) == len(log)
                if epoch != e: me('names nobody', out)
                elif whole and sess[1-k] == 'A' and epoch < EPOCHS:
                    nrec = (e+1, 1-k, 0, starts, tail)
                    me(f'names {1-k}', dict(ph='open') if mut == 'drain_keeps_serving' else out, record=nrec)
                    me(f'names {1-k}, answer lost', dict(ph='unknown'), record=nrec)
                    me(f'names {1-k}, request lost', dict(ph='unknown'))
        return r
    return init, succ


RUNS = [('E handover', modelE, {}, True)] + [
    (f'E mut {mut}', modelE, dict(mut=mut), False) for mut in (
        'open_without_seal', 'roll_unnamed', 'roll_counts_the_old_lane', 'no_look_at_era', 'drain_before_ship',
        'drain_keeps_serving', 'unknown_goes_on', 'restore_without_seal', 'restore_from_roots', 'restore_same_epoch')]

"""Model D, the local restart; the protocol in words is local-restart.md.

D1 lane : the files of one disk below the lane contract. Blocks sit in a page cache until synced; kill -9 keeps the
          cache, power loss keeps, loses or tears each unsynced block; a failed fsync leaves the page clean but not on
          disk. Recovery, which may crash too, seals the predecessor; files are trimmed and used again.
D2 open : the partition above a lane that is as good as D1 says. Local root copy and bucket root, ship, trim, bucket
          outage, an old disk image that comes back, orphan sweep, a re-created topic in the same folder.
"""
from itertools import product

from explore import Bad, put

TORN = 'torn'


# ---------------------------------------------------------------- D1: files, fsync, recovery
# block = (salt, seq, offset, content, durable_upto); its content is the number of the session that wrote it
# slot  = (cache, disk, dirty): what a read sees, what is on the platter, whether an fsync would write it
# file  = (salt, kind, lane, first seq, slots); a header is synced before a block in the file counts
FREE, LANE, COPY = 0, 1, 2
D1_FIELDS = ('files', 'salt', 'seals', 'trims', 'root', 'starts', 'truth', 'crashes', 'errors', 'rot',
             'sess', 'ph', 'cur', 'used', 'seq', 'dur', 'plan')


def valid(file, seq, mut=''):
    """The block `seq` of a lane in this file, or None."""
    block = file[4][seq - file[3]][0]
    if block in (None, TORN) or block[1] != seq:
        return None
    return block if block[0] == file[0] or mut == 'no_salt' else None


def scan(s, lane, slots_per_file, mut):
    """Walks a lane from its trim pointer: (blocks kept, the part of them not known to be synced, is it corrupt)."""
    K = slots_per_file
    files = sorted((f for f in s['files'] if f[1] == LANE and f[2] == lane), key=lambda f: f[3])
    upto = max((b[4] for f in files for sl in f[4] for b in [sl[0]] if b not in (None, TORN) and b[0] == f[0]), default=0)
    seal = next((x for x in s['seals'] if x[0] == lane), None)
    q, kept = s['trims'][lane - 1], []
    if files and q < files[0][3]:
        return kept, [], True                                   # the trim pointer says that this file must be there
    while True:
        if seal and q > seal[1]:
            break
        file = next((f for f in files if f[3] <= q < f[3] + K), None)
        block = valid(file, q, mut) if file else None
        if block is None:
            if seal and q <= seal[1]:
                return kept, [], True
            if not seal and q <= upto and mut != 'cut_below_durable':
                return kept, [], True                           # a later block says that this one was synced
            break
        kept.append(block)
        q += 1
    if seal and seal[2]:
        copy = next((f for f in s['files'] if f[1] == COPY and f[0] == seal[2]), None)
        if copy is None:
            return (kept, [], False) if s['trims'][lane - 1] > seal[3] else (kept, [], True)
        for q in range(max(copy[3], s['trims'][lane - 1]), seal[3] + 1):
            block = valid(copy, q)
            if block is None:
                return kept, [], True
            kept.append(block)
    return kept, [b for b in kept if b[1] > upto] if not seal else [], False


def modelD1(K=2, FILES=3, OFFSETS=3, SESSIONS=3, CRASHES=3, ERRORS=1, ROT=1, DEPTH=2, mut=''):
    first = ((1, LANE, 1, 1, ((None, None, 0),) * K),) + ((0, FREE, 0, 0, ((None, None, 0),) * K),) * (FILES - 1)
    init = (first, 1, (), (1,) * SESSIONS, 0, (0,), (), CRASHES, ERRORS, ROT, 1, 'run', 0, 0, 0, 0, None)

    def succ(state):
        s = dict(zip(D1_FIELDS, state))
        files, ph, sess, cur = s['files'], s['ph'], s['sess'], s['cur']
        out = []

        def add(label, **kw):
            out.append((label, tuple(kw.get(k, s[k]) for k in D1_FIELDS)))

        def with_slots(i, slots):
            f = files[i]
            return put(files, i, f[:4] + (slots,))

        def take(kind, lane, at, blocks=()):
            """A free file with a new salt, holding `blocks`, unsynced; its old bytes stay behind them."""
            i = next((i for i, f in enumerate(files) if f[1] == FREE), None)
            if i is None:
                return None, files
            salt = s['salt'] + 1
            slots = tuple(((salt,) + b[1:], files[i][4][j][1], 1) for j, b in enumerate(blocks))
            return i, put(files, i, (salt, kind, lane, at, slots + files[i][4][len(slots):]))

        # crashes
        if s['crashes'] and ph not in ('blocked', 'down'):
            add('kill', ph='down', crashes=s['crashes'] - 1, cur=0, used=0, seq=0, dur=0, plan=None)
        if s['crashes'] and ph != 'blocked':
            spots = [(i, j) for i, f in enumerate(files) for j, sl in enumerate(f[4]) if sl[0] != sl[1]]
            choices = [('lost', 'kept', 'torn') if files[i][4][j][2] else ('lost',) for i, j in spots]
            for fate in product(*choices) if spots or ph != 'down' else ():
                fs = [list(f[4]) for f in files]
                for (i, j), what in zip(spots, fate):
                    cache, disk, _ = fs[i][j]
                    v = {'lost': disk, 'kept': cache, 'torn': TORN}[what]
                    fs[i][j] = (v, v, 0)
                add(f'power{list(fate)}', ph='down', crashes=s['crashes'] - 1, cur=0, used=0, seq=0, dur=0, plan=None,
                    files=tuple(f[:4] + (tuple((c, d, 0) for c, d, _ in sl),) for f, sl in zip(files, fs)))

        # the writer
        if ph == 'run':
            start = s['starts'][sess - 1]
            nxt = start + s['seq']
            if nxt < OFFSETS and s['seq'] - s['dur'] < DEPTH and s['used'] < K:
                block = (files[cur][0], s['seq'] + 1, nxt, sess, s['dur'])
                sl = files[cur][4]
                add(f'append({nxt})', files=with_slots(cur, put(sl, s['used'], (block, sl[s['used']][1], 1))),
                    seq=s['seq'] + 1, used=s['used'] + 1)
            if s['used'] == K and s['seq'] == s['dur'] and nxt < OFFSETS:
                i, fs = take(LANE, sess, s['seq'] + 1)
                if i is not None:
                    add('roll', files=fs, salt=s['salt'] + 1, cur=i, used=0)
            if s['seq'] > s['dur']:
                sl = files[cur][4]
                add('fsync ok', files=with_slots(cur, tuple((c, c, 0) if d else (c, k, 0) for c, k, d in sl)),
                    dur=s['seq'])
                if s['errors']:
                    add('fsync error', files=with_slots(cur, tuple((c, k, 0) for c, k, _ in sl)),
                        errors=s['errors'] - 1, ph='run' if mut == 'retry_fsync' else 'dead')
            hw = start + (s['seq'] if mut == 'ack_before_fsync' else s['dur'])
            if hw > len(s['truth']):
                add(f'ack(<{hw})', truth=s['truth'] + (sess,) * (hw - len(s['truth'])))
            if s['root'] < start + s['dur'] and s['root'] < len(s['truth']):
                add('ship', root=s['root'] + 1)
            # trim: what is shipped goes, trim pointer first
            for i, f in enumerate(files):
                if f[1] == FREE or i == cur:
                    continue
                seal = next((x for x in s['seals'] if x[0] == f[2]), None)
                last = min(f[3] + K - 1, seal[3]) if seal else f[3] + K - 1
                if s['starts'][f[2] - 1] + last > s['root']:
                    continue
                trim = s['trims'][f[2] - 1]
                if trim < last + 1:
                    add(f'trim pointer {f[2]}<{last + 1}', trims=put(s['trims'], f[2] - 1, last + 1))
                if trim > last or mut == 'recycle_before_trim_pointer':
                    add(f'recycle file {i}', files=put(files, i, (0, FREE, 0, 0, f[4])))
        if ph in ('run', 'dead', 'down') and s['rot']:
            for i, f in enumerate(files):
                for j, (c, d, _) in enumerate(f[4]):
                    if f[1] != LANE or c != d or c in (None, TORN) or c[0] != f[0]:
                        continue
                    known = any(b not in (None, TORN) and b[4] >= c[1] and b == disk and b[0] == g[0]
                                for g in files if g[1] == LANE and g[2] == f[2] for b, disk, _ in g[4])
                    if known:
                        add(f'rot {i}.{j}', rot=s['rot'] - 1, files=with_slots(i, put(f[4], j, (TORN, TORN, 0))))

        # recovery: scan, copy the unsynced tail, sync the copy, record the seal, open a lane, serve
        if ph == 'down' and sess < SESSIONS:
            named = {x[2] for x in s['seals']}
            fs = tuple((0, FREE, 0, 0, f[4]) if f[1] == COPY and f[0] not in named else f for f in files)
            add('restart', ph='scan', sess=sess + 1, files=fs)
        if ph == 'scan':
            log, corrupt, plan = {}, False, None
            for lane in range(1, len(s['starts']) + 1):
                kept, tail, bad = scan(s, lane, K, mut)
                corrupt |= bad
                for b in kept:
                    if (b[2], b[3]) != (s['starts'][lane - 1] + b[1] - 1, lane):
                        raise Bad(f'recovery replays offset {b[2]} of session {b[3]} as seq {b[1]} of lane {lane}')
                    log[b[2]] = b[3]
                if not any(x[0] == lane for x in s['seals']):
                    end = kept[-1][1] if kept else s['trims'][lane - 1] - 1
                    plan = (lane, tuple(tail), end)
            for o, c in enumerate(s['truth']):
                if o >= s['root'] and log.get(o) != c and not (corrupt and s['rot'] < ROT):
                    raise Bad(f'offset {o} was visible as {c}, recovery reads {log.get(o)}')
            if corrupt:
                if s['rot'] == ROT:
                    raise Bad('recovery reports corruption where nothing rotted')
                add('report corruption', ph='blocked')
            else:
                end = s['root']
                while end in log:
                    end += 1
                vis = s['truth'] + tuple(log[o] for o in range(len(s['truth']), end))
                tail = plan[1] if plan else ()
                if plan is None:
                    add('nothing to seal', ph='sealed', plan=(None, (), 0, 0, vis))
                elif not tail or mut in ('no_copy', 'sync_in_place'):
                    fs = files
                    if mut == 'sync_in_place':
                        fs = tuple(f[:4] + (tuple((c, c, 0) if d else (c, k, 0) for c, k, d in f[4]),) for f in files)
                    add('seal in place', files=fs, ph='synced', plan=(plan[0], plan[2], 0, plan[2], vis))
                else:
                    i, fs = take(COPY, plan[0], tail[0][1], tail)
                    if i is not None:
                        add('copy tail', files=fs, salt=s['salt'] + 1, cur=i,
                            ph='synced' if mut == 'seal_before_copy_sync' else 'copying',
                            plan=(plan[0], tail[0][1] - 1, s['salt'] + 1, plan[2], vis))
        if ph == 'copying':
            sl = files[cur][4]
            add('copy fsync ok', files=with_slots(cur, tuple((c, c, 0) if d else (c, k, 0) for c, k, d in sl)),
                ph='synced')
            if s['errors']:
                add('copy fsync error', files=with_slots(cur, tuple((c, k, 0) for c, k, _ in sl)),
                    errors=s['errors'] - 1, ph='dead')
        if ph == 'synced':
            add('record seal', seals=s['seals'] + (s['plan'][:4],), ph='sealed')
        if ph == 'sealed':
            i, fs = take(LANE, sess, 1)
            if i is not None:
                vis = s['plan'][4]
                # lane numbers of sessions that died before they had a lane stay unused
                starts = s['starts'] + (len(vis),) * (sess - len(s['starts']))
                sealed = tuple((n, 0, 0, 0) for n in range(len(s['starts']) + 1, sess))
                add('serve', files=fs, salt=s['salt'] + 1, ph='run', cur=i, used=0, seq=0, dur=0, plan=None,
                    truth=vis, starts=starts, seals=s['seals'] + sealed)
        return out

    return init, succ


# ---------------------------------------------------------------- D2: open, ship, sweep
# lane   = (base, contents): what the disk holds of the log, always a durable contiguous run
# lroot  = the last root kept on the disk, lep = the last epoch handed out, both written before they are used
# root   = (epoch, end, refs, version) in the bucket; refs and objs are objects (topic, epoch, base, end, contents)
# image  = an old copy of the disk; `back` says that it came back, `blind` that it then opened without the bucket
# other  = the re-created topic of the same name: (phase, refs), its own epoch is 1
D2_FIELDS = ('lane', 'lroot', 'lep', 'image', 'back', 'blind', 'root', 'objs', 'up', 'ph', 'epoch', 'start', 'view',
             'pend', 'checked', 'listed', 'other', 'truth', 'crashes', 'flips')
NO_ROOT = (0, 0, (), 0)


def held(root):
    """offset -> content of what a root refers to."""
    return {ob[2] + k: c for ob in root[2] for k, c in enumerate(ob[4])}


def modelD2(OFFSETS=3, EPOCHS=3, CRASHES=2, FLIPS=2, IMAGE=0, SWEEP=0, OTHER=0, mut=''):
    init = ((0, ()), NO_ROOT, 0, None, 0 if IMAGE else 2, 0, NO_ROOT, frozenset(), 1, 'down', 0, 0, NO_ROOT,
            None, 0, None, ('none', ()) if OTHER else ('off', ()), (), CRASHES, FLIPS)

    def foreign(s, root):
        """Does the bucket's root come from a life of the broker that this disk does not remember?"""
        if mut == 'open_without_comparing':
            return False
        if mut == 'refuse_any_newer_root':
            return root[3] > s['lroot'][3]
        base, log = s['lane']
        handed = s['epoch'] if s['ph'] == 'open' else s['lep']
        return root[0] > handed or root[1] > max(s['lroot'][1], base + len(log))

    def succ(state):
        s = dict(zip(D2_FIELDS, state))
        base, log = s['lane']
        top = base + len(log)
        root, view, ph, e, pend = s['root'], s['view'], s['ph'], s['epoch'], s['pend']
        out = []

        def add(label, **kw):
            d = {k: kw.get(k, s[k]) for k in D2_FIELDS}
            for ob in d['root'][2] + d['other'][1]:
                if ob not in d['objs']:
                    raise Bad(f'{label}: a root refers to a deleted object {ob[:4]}')
            have, (b, entries) = held(d['root']), d['lane']
            if sorted(have) != list(range(d['root'][1])) or sum(len(ob[4]) for ob in d['root'][2]) != len(have):
                raise Bad(f'{label}: the references do not cover [0,{d["root"][1]}) once')
            for o, c in enumerate(d['truth']):
                got = have.get(o, entries[o - b] if b <= o < b + len(entries) else None)
                if got != c:
                    raise Bad(f'{label}: offset {o} was visible as {c}, now {got}')
            out.append((label, tuple(d[k] for k in D2_FIELDS)))

        gone = dict(ph='down', epoch=0, start=0, view=NO_ROOT, pend=None, checked=0, listed=None)
        # the world
        if s['flips']:
            add('bucket down' if s['up'] else 'bucket up', up=1 - s['up'], flips=s['flips'] - 1)
        if s['crashes'] and ph != 'down':
            add('crash', crashes=s['crashes'] - 1, **gone)
        if s['image'] is None and not s['back']:
            add('image taken', image=(s['lane'], s['lroot'], s['lep']))
        if s['image'] is not None and not s['back'] and ph == 'down':
            lane, lroot, lep = s['image']
            have = held(root) | {lane[0] + k: c for k, c in enumerate(lane[1])}
            n = 0                                   # the window of class `local`: what this disk alone had is gone
            while n < len(s['truth']) and have.get(n) == s['truth'][n]:
                n += 1
            if n < min(root[1], len(s['truth'])):
                raise Bad(f'image back: shipped offset {n} is not what was visible')
            add('image back', lane=lane, lroot=lroot, lep=lep, image=None, back=1, truth=s['truth'][:n])

        # open: compare with the bucket if it answers, else go by the root on the disk
        if ph == 'down' and s['lep'] < EPOCHS:
            if s['up']:
                if foreign(s, root):
                    if s['back'] != 1:
                        raise Bad('refuses to open although the disk is the newest')
                    add('refused', **(gone | dict(ph='refused')))
                else:
                    seen = s['lroot'] if mut == 'open_without_comparing' else root
                    if base > seen[1]:
                        raise Bad(f'open: gap between the root at {seen[1]} and the lane at {base}')
                    add('open', ph='opening', lep=s['lep'] + 1, view=seen, lroot=seen, checked=1)
            else:
                if base > s['lroot'][1]:
                    raise Bad(f'open without bucket: gap between the local root at {s["lroot"][1]} and the lane at {base}')
                add('open without bucket', ph='opening', lep=s['lep'] + 1, view=s['lroot'], checked=0,
                    blind=1 if s['back'] == 1 else s['blind'])
        if ph == 'opening':
            vis = held(view) | {base + k: c for k, c in enumerate(log)}
            end = max(view[1], top)
            start = view[1] if mut == 'drop_tail' else end
            seen = s['truth'] if s['blind'] else s['truth'] + tuple(vis[o] for o in range(len(s['truth']), start))
            lane = (start, ()) if top < start or mut == 'drop_tail' else s['lane']
            add('serve', ph='open', epoch=s['lep'], start=start, lane=lane, truth=seen)
        if ph == 'open':
            tag = (e, s['back'] == 1)
            if top < OFFSETS:
                truth = s['truth'] if s['blind'] else s['truth'] + (tag,)
                if not s['blind'] and len(s['truth']) != top:
                    raise Bad(f'append: assigns offset {top}, but {len(s["truth"])} offsets are visible')
                add(f'append({top})', lane=(base, log + (tag,)), truth=truth)
            # ship: compare (once, if opened without the bucket), PUT, CAS, local root, trim
            if s['up'] and not s['checked'] and mut != 'ship_without_comparing':
                if foreign(s, root):
                    if s['back'] != 1:
                        raise Bad('closes although the disk is the newest')
                    add('closed', **(gone | dict(ph='refused')))
                else:
                    add('compared', view=root, lroot=root, checked=1)
            if s['up'] and pend is None and top > view[1] and (s['checked'] or mut == 'ship_without_comparing'):
                ob = ('T', e, view[1], top, log[view[1] - base:])
                kw = {}
                if mut == 'trim_before_cas':
                    kw['lane'] = (top, ())
                if mut == 'local_root_before_cas':
                    kw['lroot'] = (e, top, view[2] + (ob,), view[3] + 1)
                add('put', objs=s['objs'] | {ob}, pend=ob, **kw)
            if s['up'] and pend is not None:
                at = root if mut == 'ship_without_comparing' else view      # the mutant takes whatever version it finds
                if at[3] == root[3]:
                    new = (e, max(pend[3], root[1]), at[2] + (pend,), root[3] + 1)
                    if mut == 'ship_without_comparing':
                        new = (e, pend[3], tuple(ob for ob in at[2] if ob[3] <= pend[2]) + (pend,), root[3] + 1)
                    add('cas', root=new, view=new, pend=None)
                    add('cas, reply lost', root=new)
                elif pend in root[2]:
                    add('cas, read back', view=root, pend=None)
                else:
                    add('cas lost', **(gone | dict(ph='refused')))
            if view[3] > s['lroot'][3]:
                add('keep local root', lroot=view)
            upto = view[1] if mut == 'trim_before_local_root' else s['lroot'][1]
            if base < min(upto, top):
                add('trim', lane=(min(upto, top), log[min(upto, top) - base:]))
            # orphan sweep of the folder, in two steps so that it can be late
            if SWEEP and s['up'] and s['listed'] is None and s['checked']:
                add('sweep lists', listed=view)
        if s['listed'] is not None and ph in ('open', 'deleted'):
            for ob in s['objs']:
                mine = ob[0] == 'T' or mut == 'sweep_ignores_topic'
                old = ob[1] < e or mut == 'sweep_ignores_epoch'
                if mine and old and ob not in s['listed'][2]:
                    add(f'sweep deletes {ob[:4]}', objs=s['objs'] - {ob})
        # the topic is deleted and made again under its name while a sweep of the first one is still under way
        if s['up'] and s['other'][0] == 'none' and ph == 'open':
            add('deleted and re-created', ph='deleted', other=('made', ()), truth=(), pend=None)
        if s['up'] and s['other'] == ('made', ()) and ('U', 1, 0, 1, ('u',)) not in s['objs']:
            add('other: put', objs=s['objs'] | {('U', 1, 0, 1, ('u',))})
        if s['up'] and s['other'] == ('made', ()) and ('U', 1, 0, 1, ('u',)) in s['objs']:
            add('other: cas', other=('made', (('U', 1, 0, 1, ('u',)),)))
        return out

    return init, succ


IMAGE = dict(IMAGE=1, OFFSETS=2)
SWEEP = dict(SWEEP=1, OTHER=1, FLIPS=0, OFFSETS=2)


def mutants(name, model, options, names):
    """The runs of `model` with a rule broken; each must be caught."""
    return [(f'{name} mut {m}', model, options | dict(mut=m), False) for m in names.split()]


RUNS = [
    ('D1 lane', modelD1, {}, True),
    *mutants('D1', modelD1, {}, 'ack_before_fsync retry_fsync no_copy sync_in_place seal_before_copy_sync '
             'cut_below_durable recycle_before_trim_pointer no_salt'),
    ('D2 restart', modelD2, {}, True),
    *mutants('D2', modelD2, {}, 'drop_tail trim_before_cas local_root_before_cas trim_before_local_root '
             'refuse_any_newer_root'),
    ('D2 old image', modelD2, IMAGE, True),
    *mutants('D2', modelD2, IMAGE, 'open_without_comparing ship_without_comparing'),
    ('D2 sweep', modelD2, SWEEP, True),
    *mutants('D2', modelD2, SWEEP, 'sweep_ignores_topic sweep_ignores_epoch'),
    ('wide D1 lane', modelD1, dict(FILES=4, OFFSETS=4), True),
    ('wide D2 old image', modelD2, dict(IMAGE=1, FLIPS=1), True),
]

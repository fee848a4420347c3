#!/usr/bin/env python3
"""Explicit-state models of the protocol; no dependencies. `python3 protocol_model.py [PREFIX ...] [-v]`

A  object lane : put-if-absent slots, pipelined PUTs, delayed/duplicated requests, lost replies, zombie writer,
                 trimming by the live writer, two concurrent sealers, GC.
B  quorum lane : N=3 replicas, W=2, zombie writer, two concurrent sealers, one wiped disk.
C  partition   : epochs 1..3, lanes (assumed correct by A/B), segment upload, root CAS, trim, GC by zombies.
D  local restart (local_restart_model.py): one disk; files, fsync, power loss and recovery; open, ship and sweep.
E  hand-over (handover_model.py): rolls of a lane, suspicion and fencing, planned moves, a lost metadata store, a restore.

Each model is run once as specified (must hold) and once per mutant (must be caught).
`protocol_model.py D` takes less than a minute; everything takes several.
"""
import handover_model
import local_restart_model
from explore import Bad, main, put

# ---------------------------------------------------------------- A: object lane
# slot: 0 never/absent, 1 data, 2 SEAL, 3 data deleted (absent again), 4 SEAL deleted (mutant)
def modelA(K=3, DEPTH=2, RETRY=1, SEALERS=2, mut=''):
    ABSENT = (0, 3, 4)
    # state: slots, nxt, net(out-standing copies per slot), tries, out(outcome per slot 0 ?,1 ok), acked, fenced,
    #        shipped, trim, sealers((pos,phase,end)...), end(agreed, -1), recovered
    init = ((0,)*K, 0, (0,)*K, (0,)*K, (0,)*K, 0, 0, 0, 0, ((0, 'probe'),)*SEALERS, -1, -1)
    def check(s):
        slots, nxt, net, tries, out, acked, fenced, shipped, trim, sl, end, rec = s
        if end >= 0 and acked > end:
            raise Bad(f'acked {acked} slots but lane sealed at {end}: acked write lost')
    def succ(s):
        slots, nxt, net, tries, out, acked, fenced, shipped, trim, sl, end, rec = s
        r = []
        def add(lab, **kw):
            d = dict(slots=slots, nxt=nxt, net=net, tries=tries, out=out, acked=acked, fenced=fenced,
                     shipped=shipped, trim=trim, sl=sl, end=end, rec=rec); d.update(kw)
            t = tuple(d[k] for k in ('slots','nxt','net','tries','out','acked','fenced','shipped','trim','sl','end','rec'))
            check(t); r.append((lab, t))
        # writer (may be a zombie at any time: nothing here reads a clock or a lease)
        unresolved = sum(1 for i in range(nxt) if not out[i])
        if not fenced and nxt < K and unresolved < DEPTH:
            add(f'W.put({nxt})', nxt=nxt+1, net=put(net, nxt, net[nxt]+1))
        for i in range(nxt):
            if not fenced and not out[i] and tries[i] < RETRY:      # timeout -> same slot, same bytes again
                add(f'W.retry({i})', net=put(net, i, net[i]+1), tries=put(tries, i, tries[i]+1))
            if net[i]:
                n2 = put(net, i, net[i]-1)
                if slots[i] in ABSENT:                               # request applied now
                    s2 = put(slots, i, 1)
                    add(f'S3.apply({i}) reply lost', slots=s2, net=n2)
                    add(f'S3.apply({i}) ok', slots=s2, net=n2, out=put(out, i, 1))
                else:
                    add(f'S3.412({i}) reply lost', net=n2)
                    if slots[i] == 1:                                # read back: own nonce -> success
                        if mut == '412_is_fenced': add(f'S3.412({i}) misread', net=n2, fenced=1)
                        else: add(f'S3.412({i}) own nonce', net=n2, out=put(out, i, 1))
                    else: add(f'S3.412({i}) SEAL', net=n2, fenced=1)
        if mut == 'no_prefix_rule':
            a = sum(out)                                             # counts any success, not the contiguous prefix
            a = max([i+1 for i in range(K) if out[i]] or [0])
        else:
            a = 0
            while a < K and out[a]: a += 1
        if a > acked: add(f'W.ack(<{a})', acked=a)
        # live writer ships an acked prefix (root commit) and trims: durable trim pointer first, deletes after
        if not fenced and shipped < acked: add('W.ship', shipped=shipped+1)
        if not fenced and trim < shipped: add('W.trim_ptr', trim=trim+1)
        lim = shipped if mut == 'delete_before_trim_ptr' else trim
        for i in range(min(lim, K)):
            if slots[i] == 1: add(f'del({i})', slots=put(slots, i, 3))
        # sealers: probe up from a possibly stale position, SEAL the first absent slot, verify against trim pointer
        for j, (pos, ph) in enumerate(sl):
            if ph == 'probe' and pos < K:
                if mut == 'seal_after_list_max':                     # seals past the highest listed slot, not at the first hole
                    m = max([i for i in range(K) if slots[i] in (1, 2)] or [-1])
                    if m >= 0 and slots[m] == 2: add(f'C{j}.found({m})', sl=put(sl, j, (m, 'verify')))
                    elif m+1 < K: add(f'C{j}.seal({m+1})', slots=put(slots, m+1, 2), sl=put(sl, j, (m+1, 'verify')))
                elif slots[pos] in ABSENT:
                    s2 = put(slots, pos, 2)
                    add(f'C{j}.seal({pos}) reply lost', slots=s2)
                    add(f'C{j}.seal({pos})', slots=s2, sl=put(sl, j, (pos, 'verify')))
                elif slots[pos] == 2: add(f'C{j}.found({pos})', sl=put(sl, j, (pos, 'verify')))
                else: add(f'C{j}.next', sl=put(sl, j, (pos+1, 'probe')))
            if ph == 'verify':
                if pos >= trim or mut == 'no_trim_verify':
                    if end >= 0 and end != pos: raise Bad(f'two sealers disagree: {end} vs {pos}')
                    add(f'C{j}.sealed@{pos}', sl=put(sl, j, (pos, 'done')), end=pos)
                else: add(f'C{j}.void', sl=put(sl, j, (trim, 'probe')))  # SEAL fell below the trim pointer: void, go on
        # recovery by the new leader: trim pointer, then every slot in [trim,end) must be there
        if end >= 0 and rec < 0:
            for i in range(min(trim, end), end):
                if i >= shipped and slots[i] != 1: raise Bad(f'slot {i} < end {end} unreadable at recovery')
            add('R.recover', rec=end)
        if rec >= 0:                                                 # janitor of a sealed, recovered lane: pointer first too
            if trim < rec and mut != 'janitor_no_trim_ptr': add('J.trim_ptr', trim=rec)
            for i in range(rec if mut == 'janitor_no_trim_ptr' else min(rec, trim)):
                if slots[i] == 1: add(f'gc({i})', slots=put(slots, i, 3))
            if mut == 'gc_deletes_seal' and rec < K and slots[rec] == 2:
                add('gc(SEAL)', slots=put(slots, rec, 4))
        return r
    return init, succ

# ---------------------------------------------------------------- B: quorum lane
def modelB(K=2, mut=''):
    N, W = 3, 2
    SQ = 1 if mut == 'seal_quorum_1' else N - W + 1
    # len[r], sealed[r], wl[r] (accepted from the writer before the seal), known[r] (what the writer heard), wiped[r],
    # issued, acked, sealers(frozenset of (r,len)), end, mine
    init = ((0,)*N, (0,)*N, (0,)*N, (0,)*N, (0,)*N, 0, 0, (frozenset(), frozenset()), -1, (-1, -1))
    def succ(s):
        ln, sd, wl, kn, wp, issued, acked, sl, end, mine = s
        r = []
        def add(lab, **kw):
            d = dict(ln=ln, sd=sd, wl=wl, kn=kn, wp=wp, issued=issued, acked=acked, sl=sl, end=end, mine=mine); d.update(kw)
            if d['end'] >= 0:
                if d['acked'] > d['end']: raise Bad(f"acked {d['acked']} > sealed end {d['end']}")
                if max(l for l, w in zip(d['ln'], d['wp']) if not w) < d['end']:
                    raise Bad(f"no surviving replica holds entries below end {d['end']}")
            m = [x for x in d['mine'] if x >= 0]
            if len(m) == 2 and m[0] != m[1]: raise Bad(f'recoverers use different ends {m}')
            r.append((lab, tuple(d[k] for k in ('ln','sd','wl','kn','wp','issued','acked','sl','end','mine'))))
        if issued < K: add('W.issue', issued=issued+1)
        for x in range(N):
            if ln[x] < issued and (not sd[x] or mut == 'append_after_seal') and not wp[x]:
                add(f'R{x}.append', ln=put(ln, x, ln[x]+1), wl=put(wl, x, ln[x]+1))   # in order, fsynced, refused once sealed
            h = ln[x] if mut == 'sealed_dup_ok' else wl[x]           # mutant: sealed replica says OK to a duplicate it got by repair
            if kn[x] < h: add(f'W.hear({x})', kn=put(kn, x, h))
            if not any(wp) and end < 0:                              # one disk lost (f = 1); new disk id
                add(f'R{x}.wipe', ln=put(ln, x, 0), wp=put(wp, x, 1))
        a = sorted(kn, reverse=True)[W-1]
        if a > acked: add(f'W.ack({a})', acked=a)
        for j in range(2):
            for x in range(N):
                if any(y == x for y, _ in sl[j]): continue
                if wp[x] and mut != 'wiped_replies_empty': continue  # disk id differs: must not answer "empty"
                add(f'C{j}.seal({x})', sd=put(sd, x, 1), sl=put(sl, j, sl[j] | {(x, ln[x])}))
            live = [(x, l) for x, l in sl[j] if not wp[x]]           # a member that lost its disk since no longer counts
            if mut in ('no_repair', 'wiped_replies_empty'): live = list(sl[j])
            if len(live) >= SQ and mine[j] < 0:
                if end >= 0 and mut != 'no_meta_cas': add(f'C{j}.adopt {end}', mine=put(mine, j, end)); continue
                e = (min if mut == 'end_is_min' else max)(l for _, l in live)
                have = [x for x in range(N) if sd[x] and (not wp[x] or mut == 'wiped_replies_empty') and ln[x] >= e]
                for y in range(N):                                   # repair write: copy [..e) to sealed, live replicas
                    if have and sd[y] and not wp[y] and ln[y] < e: add(f'C{j}.repair({y})', ln=put(ln, y, e))
                need = 0 if mut in ('no_repair', 'seal_quorum_1') else W
                if len(have) >= need: add(f'C{j}.CAS end={e}', mine=put(mine, j, e), end=e)
        return r
    return init, succ

# ---------------------------------------------------------------- C: partition: epochs, root CAS, segments, trim, GC
def modelC(L=3, M=3, mut=''):
    # lanes[k] = (frozenset of durable (offset, content), sealed); one per epoch; entries of one leader may become durable
    #            out of order (two WAL lanes of one session), so an unacked hole followed by a durable entry is possible.
    # content of an offset = epoch that wrote it.   starts = etcd partition record: ((epoch, start offset), ...)
    # root = (epoch, end, refs, version) ; objs = objects in the bucket (epoch, base, end, contents)
    # ldr[k] = (phase, root view, base, contents from base, pending upload)
    init = (((frozenset(), 0),)*L, (0, 0, (), 0), frozenset(), (('idle', None, 0, (), None),)*L, 0, (), ())
    F = ('ph', 'view', 'base', 'log', 'pend')
    def tail_of(lanes, starts, i, frm):
        """longest contiguous run from `frm`; an epoch's entries count only below the next epoch's start"""
        out, o = [], frm
        while True:
            c = None
            rng = range(max(i-1, 0), i) if mut == 'only_prev_lane' and i < L else range(i)
            for k in rng:
                for (x, y) in lanes[k][0]:
                    if x != o: continue
                    nxt = min([st for (ep, st) in starts if ep > k+1] or [99])
                    if x < nxt or mut == 'no_epoch_start': c = y if (c is None or mut != 'no_epoch_start') else c
            if c is None: return tuple(out)
            out.append(c); o += 1
    def succ(s):
        lanes, root, objs, ldr, cur, truth, starts = s
        r = []
        def add(lab, **kw):
            d = dict(lanes=lanes, root=root, objs=objs, ldr=ldr, cur=cur, truth=truth, starts=starts); d.update(kw)
            rt = d['root']; have = {}
            if d['cur'] < cur: raise Bad(f"{lab}: the record goes back from epoch {cur} to {d['cur']}: an epoch is given twice")
            for ob in rt[2]:
                if ob not in d['objs']: raise Bad(f'{lab}: root references a deleted object {ob[:3]}')
                for k, c in enumerate(ob[3]):
                    if ob[1]+k in have and have[ob[1]+k] != c: raise Bad(f'{lab}: two contents at offset {ob[1]+k}')
                    have[ob[1]+k] = c
            for o in range(rt[1]):
                if o not in have: raise Bad(f'{lab}: root end {rt[1]} but offset {o} not covered')
            tl = tail_of(d['lanes'], d['starts'], L, rt[1])
            for o, c in enumerate(d['truth']):
                g = have.get(o, tl[o-rt[1]] if rt[1] <= o < rt[1]+len(tl) else None)
                if g != c: raise Bad(f'{lab}: offset {o} acked as {c}, recovery would read {g}')
            r.append((lab, tuple(d[k] for k in ('lanes','root','objs','ldr','cur','truth','starts'))))
        if cur < L: add(f'assign({cur+1})', cur=cur+1)               # controller: next epoch, any time (no clock, no lease)
        for e in range(1, cur+1):
            i = e-1; ph, view, base, log, pend = ldr[i]; ents, sealed = lanes[i]
            def me(lab, m, **kw):
                nv = dict(zip(F, ldr[i])); nv.update(m)
                add(lab, ldr=put(ldr, i, tuple(nv[f] for f in F)), **kw)
            if ph == 'idle':
                if mut == 'open_without_cas': me(f'L{e}.read_root_early', dict(ph='early', view=root))
                else: me(f'L{e}.start', dict(ph='seal'))
            if ph in ('seal', 'early'):
                me(f'L{e}.seal<{e}', dict(ph='sealed'), lanes=tuple((x[0], 1) if k < i else x for k, x in enumerate(lanes)))
            if ph == 'sealed':
                v = view if mut == 'open_without_cas' else root
                if v[0] > e or any(ep > e for ep, _ in starts): me(f'L{e}.fenced', dict(ph='dead', view=None))
                else: me(f'L{e}.read_root', dict(ph='cas', view=v))
            if ph == 'cas':
                if view[3] == root[3] or mut in ('open_without_cas', 'root_put_unconditional'):
                    lg = tail_of(lanes, starts, i, view[1])
                    nr = (e, view[1], view[2], root[3]+1)
                    me(f'L{e}.P6', dict(ph='p7', view=nr, base=view[1], log=lg), root=nr)
                else: me(f'L{e}.cas_lost', dict(ph='sealed', view=None))
            if ph == 'p7':                                                # etcd CAS of the whole record: only if it still says e
                if cur != e and mut != 'p7_unconditional': me(f'L{e}.P7_lost', dict(ph='dead', view=None))
                else:
                    vis = {ob[1]+k: c for ob in view[2] for k, c in enumerate(ob[3])}      # readable from now on, so it
                    vis.update({base+k: c for k, c in enumerate(log)})                     # must never change again
                    me(f'L{e}.P7_open', dict(ph='open'), cur=e, starts=starts + ((e, base+len(log)),),
                       truth=truth + tuple(vis.get(o) for o in range(len(truth), base+len(log))))
            if ph == 'open':
                st = [x for ep, x in starts if ep == e][0]; nxt = base + len(log)
                if nxt < M: me(f'L{e}.issue({nxt})', dict(log=log + (e,)))
                dur = {o for (o, _) in ents}
                for o in range(st, nxt):                              # becomes durable in a lane, in any order, until sealed
                    if o not in dur and not sealed and o >= view[1]:
                        add(f'L{e}.durable({o})', lanes=put(lanes, i, (ents | {(o, e)}, sealed)))
                hw = st
                while hw < nxt and (hw in dur or hw < view[1]): hw += 1
                top = max([o+1 for o in dur] or [0]) if mut == 'ack_any_durable' else hw
                if top > len(truth):
                    add(f'L{e}.ack(<{top})', truth=truth + tuple(log[o-base] for o in range(len(truth), top)))
                shp = hw
                if pend is None and shp > view[1]:
                    ob = (e, view[1], shp, log[view[1]-base:shp-base])
                    kw = dict(objs=objs | {ob})
                    if mut == 'trim_before_cas':
                        kw['lanes'] = tuple((frozenset(x for x in ln[0] if x[0] >= shp), ln[1]) if k <= i else ln for k, ln in enumerate(lanes))
                    me(f'L{e}.upload[{ob[1]},{ob[2]})', dict(pend=ob), **kw)
                if pend is not None:
                    if view[3] == root[3] or mut == 'root_put_unconditional':
                        nr = (e, pend[2], view[2] + (pend,), root[3]+1)
                        me(f'L{e}.commit', dict(view=nr, pend=None), root=nr)
                    else: me(f'L{e}.commit_fenced', dict(ph='dead', pend=None))
                if any(x[0] < view[1] for ln in lanes[:i+1] for x in ln[0]):
                    add(f'L{e}.trim<{view[1]}', lanes=tuple((frozenset(x for x in ln[0] if x[0] >= view[1]), ln[1]) if k <= i else ln
                                                        for k, ln in enumerate(lanes)))
                for ob in objs:                                       # orphan sweep, also by a zombie on an old view
                    if ob in view[2] or ob == pend: continue
                    if ob[0] < e or mut == 'gc_ignores_epoch': add(f'L{e}.gc{ob[:3]}', objs=objs - {ob})
        return r
    return init, succ

RUNS = [
 ('A object lane', modelA, {}, True),
 ('A depth 3', modelA, dict(DEPTH=3), True),
 ('A mut 412_is_fenced (safe, only a needless fence)', modelA, dict(mut='412_is_fenced'), True),
 ('A mut no_prefix_rule', modelA, dict(mut='no_prefix_rule'), False),
 ('A mut seal_after_list_max', modelA, dict(mut='seal_after_list_max'), False),
 ('A mut no_trim_verify', modelA, dict(mut='no_trim_verify'), False),
 ('A mut delete_before_trim_ptr', modelA, dict(mut='delete_before_trim_ptr'), False),
 ('A mut gc_deletes_seal', modelA, dict(mut='gc_deletes_seal'), False),
 ('A mut janitor_no_trim_ptr', modelA, dict(mut='janitor_no_trim_ptr'), False),
 ('B quorum lane', modelB, {}, True),
 ('B mut seal_quorum_1', modelB, dict(mut='seal_quorum_1'), False),
 ('B mut append_after_seal', modelB, dict(mut='append_after_seal'), False),
 ('B mut wiped_replies_empty', modelB, dict(mut='wiped_replies_empty'), False),
 ('B mut end_is_min', modelB, dict(mut='end_is_min'), False),
 ('B mut no_meta_cas', modelB, dict(mut='no_meta_cas'), False),
 ('B mut no_repair', modelB, dict(mut='no_repair'), False),
 ('B mut sealed_dup_ok', modelB, dict(mut='sealed_dup_ok'), False),
 ('C partition', modelC, {}, True),
 ('C mut only_prev_lane', modelC, dict(mut='only_prev_lane'), False),
 ('C mut no_epoch_start', modelC, dict(mut='no_epoch_start'), False),
 ('C mut ack_any_durable', modelC, dict(mut='ack_any_durable'), False),
 ('C mut open_without_cas', modelC, dict(mut='open_without_cas'), False),
 ('C mut root_put_unconditional', modelC, dict(mut='root_put_unconditional'), False),
 ('C mut trim_before_cas', modelC, dict(mut='trim_before_cas'), False),
 ('C mut p7_unconditional', modelC, dict(mut='p7_unconditional'), False),
 ('C mut gc_ignores_epoch', modelC, dict(mut='gc_ignores_epoch'), False),
]

if __name__ == '__main__':
    main(RUNS + local_restart_model.RUNS + handover_model.RUNS)

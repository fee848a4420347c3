package main

import (
	"context"
	"fmt"
	"hash/crc32"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"clients/contract"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// teller tells what happens to a client: docs/formats/history.md.
type teller struct {
	lock   sync.Mutex
	answer contract.Answer
	topic  string
}

type fields map[string]any

// now is in microseconds of the clock that the test reads too.
func now() int64 {
	const monotonic = 1
	var at syscall.Timespec
	if _, _, err := syscall.Syscall(syscall.SYS_CLOCK_GETTIME, monotonic, uintptr(unsafe.Pointer(&at)), 0); err != 0 {
		panic(err)
	}
	return at.Nano() / 1000
}

func (t *teller) tell(event, client string, partition int32, more fields) {
	more["at"], more["client"], more["topic"], more["partition"] = now(), client, t.topic, partition
	t.lock.Lock()
	defer t.lock.Unlock()
	t.answer(map[string]fields{event: more})
}

func (t *teller) ofClient(event, client string, more fields) {
	more["at"], more["client"] = now(), client
	t.lock.Lock()
	defer t.lock.Unlock()
	t.answer(map[string]fields{event: more})
}

// load runs an idempotent producer and a member of a group until a file appears.
func load(request *contract.Request, answer contract.Answer) error {
	t := &teller{answer: answer, topic: request.Topic}
	member, err := join(request, t)
	if err != nil {
		return err
	}
	positions := make([]atomic.Int64, len(request.Assigned()))
	var reading sync.WaitGroup
	reading.Add(1)
	go func() {
		defer reading.Done()
		read(member, request, t, positions)
	}()
	if err := write(request, t); err != nil {
		return err
	}
	since := now()
	ends, err := kadm.NewClient(member).ListEndOffsets(context.Background(), request.Topic)
	if err != nil {
		return err
	}
	behind := func() bool {
		for partition := range positions {
			if end, there := ends.Lookup(request.Topic, int32(partition)); there && positions[partition].Load() < end.Offset {
				return true
			}
		}
		return false
	}
	for begun := time.Now(); behind() && time.Since(begun) < time.Minute; {
		time.Sleep(10 * time.Millisecond)
	}
	t.ofClient("patience", request.Name, fields{"since": since, "group": request.Group})
	member.Close()
	reading.Wait()
	t.ofClient("close", memberOf(request), fields{})
	return nil
}

func memberOf(request *contract.Request) string {
	return request.Name + "-member"
}

func write(request *contract.Request, t *teller) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(request.Bootstrap, ",")...),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(2*time.Millisecond))
	if err != nil {
		return err
	}
	defer client.Close()
	var failed atomic.Value
	sent, last := make([]int64, len(request.Assigned())), make([]int64, len(request.Assigned()))
	for partition := range last {
		last[partition] = -1
	}
	for turn := 0; !exists(request.Until); turn++ {
		partition := int32(turn % len(sent))
		number := sent[partition]
		sent[partition]++
		value := fmt.Sprintf("%s:%d:%s", request.Name, number, strings.Repeat("x", 200))
		record := &kgo.Record{Topic: request.Topic, Partition: partition, Value: []byte(value)}
		t.tell("send", request.Name, partition, fields{"value": number})
		client.Produce(context.Background(), record, func(record *kgo.Record, err error) {
			if err != nil {
				failed.Store(err)
				return
			}
			// To a batch that it wrote long ago a broker may answer that it is there, and not where: the library counts
			// from -1 then.
			if record.Offset > last[partition] {
				last[partition] = record.Offset
				t.tell("acked", request.Name, partition, fields{"value": number, "offset": record.Offset})
			}
		})
		time.Sleep(2 * time.Millisecond)
	}
	if err := client.Flush(context.Background()); err != nil {
		return err
	}
	if err := failed.Load(); err != nil {
		return err.(error)
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func join(request *contract.Request, t *teller) (*kgo.Client, error) {
	name := memberOf(request)
	t.ofClient("subscribe", name, fields{"group": request.Group, "topic": request.Topic})
	assigned := func(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
		for _, partition := range partitions[request.Topic] {
			t.tell("seek", name, partition, fields{"offset": nil})
		}
	}
	return kgo.NewClient(kgo.SeedBrokers(strings.Split(request.Bootstrap, ",")...), kgo.ConsumerGroup(request.Group),
		kgo.ConsumeTopics(request.Topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit(),
		kgo.SessionTimeout(6*time.Second), kgo.HeartbeatInterval(500*time.Millisecond),
		kgo.BlockRebalanceOnPoll(), kgo.OnPartitionsAssigned(assigned))
}

// read reads and commits until the client is closed.
func read(client *kgo.Client, request *contract.Request, t *teller, positions []atomic.Int64) {
	for {
		fetches := client.PollRecords(context.Background(), 500)
		if fetches.IsClientClosed() {
			return
		}
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			for records := p.Records; len(records) > 0; {
				some := ofOneEpoch(records)
				records = records[len(some):]
				t.tell("poll", memberOf(request), p.Partition, fields{"records": shown(some), "epoch": some[0].LeaderEpoch,
					"high_watermark": p.HighWatermark, "log_start": p.LogStartOffset})
				positions[p.Partition].Store(some[len(some)-1].Offset + 1)
			}
		})
		if records := fetches.Records(); len(records) > 0 {
			commit(client, request, t, records)
		}
		client.AllowRebalance()
	}
}

func ofOneEpoch(records []*kgo.Record) []*kgo.Record {
	for at, record := range records {
		if record.LeaderEpoch != records[0].LeaderEpoch {
			return records[:at]
		}
	}
	return records
}

// shown are records as offset, producer, number and digest.
func shown(records []*kgo.Record) (all [][4]any) {
	for _, record := range records {
		words := strings.SplitN(string(record.Value), ":", 3)
		number, _ := strconv.ParseInt(words[1], 10, 64)
		digest := crc32.ChecksumIEEE([]byte(strconv.FormatInt(record.Timestamp.UnixMilli(), 10) + ":"))
		all = append(all, [4]any{record.Offset, words[0], number, crc32.Update(digest, crc32.IEEETable, record.Value)})
	}
	return all
}

func commit(client *kgo.Client, request *contract.Request, t *teller, records []*kgo.Record) {
	offsets := make(map[int32]int64)
	for _, record := range records {
		offsets[record.Partition] = record.Offset + 1
	}
	begin, outcome := now(), "ok"
	if err := client.CommitRecords(context.Background(), records...); err != nil {
		outcome = "unknown"
	}
	for partition, offset := range offsets {
		t.tell("commit", memberOf(request), partition, fields{"begin": begin, "group": request.Group, "offset": offset,
			"outcome": outcome})
	}
}

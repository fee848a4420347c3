// Driver of franz-go; the contract is in ../../README.md.
package main

import (
	"context"
	"time"

	"clients/contract"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

var codecs = map[string]kgo.CompressionCodec{
	"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
	"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}

func main() {
	contract.Serve(map[string]func(*contract.Request, contract.Answer) error{
		"produce": produce, "consume": consume, "group": group, "create": create, "alter": alter, "describe": describe, "delete": remove,
		"load": load,
	})
}

func produce(request *contract.Request, _ contract.Answer) error {
	options := []kgo.Opt{kgo.SeedBrokers(request.Bootstrap)}
	if request.Codec != "" {
		options = append(options, kgo.ProducerBatchCompression(codecs[request.Codec]))
	}
	var records []*kgo.Record
	for _, r := range request.Records {
		record := &kgo.Record{Topic: request.Topic, Key: r.Key, Value: r.Value}
		if r.Timestamp != nil {
			record.Timestamp = time.UnixMilli(*r.Timestamp)
		}
		if r.Partition != nil {
			record.Partition = *r.Partition
		}
		for _, h := range r.Headers {
			record.Headers = append(record.Headers, kgo.RecordHeader{Key: h.Name, Value: h.Value})
		}
		records = append(records, record)
	}
	if request.Records[0].Partition != nil {
		options = append(options, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		return err
	}
	defer client.Close()
	return client.ProduceSync(context.Background(), records...).FirstErr()
}

func consume(request *contract.Request, answer contract.Answer) error {
	start := kgo.NewOffset().AtStart()
	if request.Offset != nil {
		start = kgo.NewOffset().At(*request.Offset)
	} else if request.Time != nil {
		start = kgo.NewOffset().AfterMilli(*request.Time)
	}
	assigned := make(map[int32]kgo.Offset)
	for _, partition := range request.Assigned() {
		assigned[partition] = start
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(request.Bootstrap),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{request.Topic: assigned}))
	if err != nil {
		return err
	}
	defer client.Close()
	_, err = readCount(client, request.Count, answer)
	return err
}

func group(request *contract.Request, answer contract.Answer) error {
	options := []kgo.Opt{kgo.SeedBrokers(request.Bootstrap), kgo.ConsumerGroup(request.Group),
		kgo.ConsumeTopics(request.Topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit()}
	if request.Protocol == "consumer" {
		// Of the client's own strategies, those that the broker has too.
		options = append(options, kgo.ServerSideBalancer(), kgo.Balancers(kgo.StickyBalancer()))
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		return err
	}
	defer client.Close()
	records, err := readCount(client, request.Count, answer)
	if err != nil {
		return err
	}
	return client.CommitRecords(context.Background(), records...)
}

func readCount(client *kgo.Client, count int, answer contract.Answer) (all []*kgo.Record, _ error) {
	for left := count; left > 0; {
		fetches := client.PollRecords(context.Background(), left)
		if err := fetches.Err(); err != nil {
			return nil, err
		}
		all = append(all, fetches.Records()...)
		for _, r := range fetches.Records() {
			at := r.Timestamp.UnixMilli()
			record := contract.Record{Partition: &r.Partition, Offset: r.Offset, Timestamp: &at, Key: r.Key, Value: r.Value,
				Headers: []contract.Header{}}
			for _, h := range r.Headers {
				record.Headers = append(record.Headers, contract.Header{Name: h.Key, Value: h.Value})
			}
			answer(record)
			left--
		}
	}
	return all, nil
}

func withAdmin(request *contract.Request, work func(context.Context, *kadm.Client) error) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(request.Bootstrap))
	if err != nil {
		return err
	}
	defer client.Close()
	return work(context.Background(), kadm.NewClient(client))
}

func create(request *contract.Request, _ contract.Answer) error {
	return withAdmin(request, func(ctx context.Context, admin *kadm.Client) error {
		_, err := admin.CreateTopic(ctx, request.PartitionCount(), 1, request.Config, request.Topic)
		return err
	})
}

func alter(request *contract.Request, _ contract.Answer) error {
	return withAdmin(request, func(ctx context.Context, admin *kadm.Client) error {
		var changes []kadm.AlterConfig
		for name, value := range request.Config {
			changes = append(changes, kadm.AlterConfig{Op: kadm.SetConfig, Name: name, Value: value})
		}
		changed, err := admin.AlterTopicConfigs(ctx, changes, request.Topic)
		if err != nil {
			return err
		}
		return changed[0].Err
	})
}

func describe(request *contract.Request, answer contract.Answer) error {
	return withAdmin(request, func(ctx context.Context, admin *kadm.Client) error {
		topics, err := admin.ListTopics(ctx, request.Topic)
		if err != nil {
			return err
		}
		earliest, err := admin.ListStartOffsets(ctx, request.Topic)
		if err != nil {
			return err
		}
		latest, err := admin.ListEndOffsets(ctx, request.Topic)
		if err != nil {
			return err
		}
		configs, err := admin.DescribeTopicConfigs(ctx, request.Topic)
		if err != nil {
			return err
		}
		found := contract.Description{Partitions: len(topics[request.Topic].Partitions), Config: map[string]string{}}
		for partition := range int32(found.Partitions) {
			found.Earliest = append(found.Earliest, earliest[request.Topic][partition].Offset)
			found.Latest = append(found.Latest, latest[request.Topic][partition].Offset)
		}
		for _, config := range configs[0].Configs {
			found.Config[config.Key] = config.MaybeValue()
		}
		answer(found)
		return nil
	})
}

func remove(request *contract.Request, _ contract.Answer) error {
	return withAdmin(request, func(ctx context.Context, admin *kadm.Client) error {
		_, err := admin.DeleteTopic(ctx, request.Topic)
		return err
	})
}

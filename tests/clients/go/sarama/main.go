// Driver of sarama; the contract is in ../../README.md.
package main

import (
	"context"
	"sync"
	"time"

	"clients/contract"

	"github.com/IBM/sarama"
)

var codecs = map[string]sarama.CompressionCodec{
	"none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP, "snappy": sarama.CompressionSnappy,
	"lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD,
}

func main() {
	contract.Serve(map[string]func(*contract.Request, contract.Answer) error{
		"produce": produce, "consume": consume, "group": group, "create": create, "alter": alter, "describe": describe, "delete": remove,
	})
}

func bytes(data []byte) sarama.Encoder {
	if data == nil {
		return nil
	}
	return sarama.ByteEncoder(data)
}

func produce(request *contract.Request, _ contract.Answer) error {
	config := sarama.NewConfig()
	config.Producer.Return.Successes = true // a synchronous producer demands it
	if request.Codec != "" {
		config.Producer.Compression = codecs[request.Codec]
	}
	if request.Idempotent {
		config.Producer.Idempotent = true
		config.Producer.RequiredAcks = sarama.WaitForAll
		config.Net.MaxOpenRequests = 1
	}
	var messages []*sarama.ProducerMessage
	for _, r := range request.Records {
		message := &sarama.ProducerMessage{Topic: request.Topic, Key: bytes(r.Key), Value: bytes(r.Value)}
		if r.Timestamp != nil {
			message.Timestamp = time.UnixMilli(*r.Timestamp)
		}
		if r.Partition != nil {
			message.Partition = *r.Partition
			config.Producer.Partitioner = sarama.NewManualPartitioner
		}
		for _, h := range r.Headers {
			message.Headers = append(message.Headers, sarama.RecordHeader{Key: []byte(h.Name), Value: h.Value})
		}
		messages = append(messages, message)
	}
	client, err := sarama.NewSyncProducer([]string{request.Bootstrap}, config)
	if err != nil {
		return err
	}
	defer client.Close()
	return client.SendMessages(messages)
}

func consume(request *contract.Request, answer contract.Answer) error {
	client, err := sarama.NewClient([]string{request.Bootstrap}, sarama.NewConfig())
	if err != nil {
		return err
	}
	defer client.Close()
	consumer, err := sarama.NewConsumerFromClient(client)
	if err != nil {
		return err
	}
	defer consumer.Close()
	messages := make(chan *sarama.ConsumerMessage)
	done := make(chan struct{})
	defer close(done)
	for _, partition := range request.Assigned() {
		start := sarama.OffsetOldest
		if request.Offset != nil {
			start = *request.Offset
		} else if request.Time != nil {
			if start, err = client.GetOffset(request.Topic, partition, *request.Time); err != nil {
				return err
			}
		}
		reader, err := consumer.ConsumePartition(request.Topic, partition, start)
		if err != nil {
			return err
		}
		defer reader.AsyncClose()
		go func() {
			for message := range reader.Messages() {
				select {
				case messages <- message:
				case <-done:
				}
			}
		}()
	}
	for range request.Count {
		answer(consumed(<-messages))
	}
	return nil
}

func consumed(m *sarama.ConsumerMessage) contract.Record {
	at := m.Timestamp.UnixMilli()
	record := contract.Record{Partition: &m.Partition, Offset: m.Offset, Timestamp: &at, Key: m.Key, Value: m.Value,
		Headers: []contract.Header{}}
	for _, h := range m.Headers {
		record.Headers = append(record.Headers, contract.Header{Name: string(h.Key), Value: h.Value})
	}
	return record
}

// member reads in a group until it has read enough, commits that and ends its session.
type member struct {
	mutex  sync.Mutex
	left   int
	answer contract.Answer
	cancel context.CancelFunc
}

func (m *member) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (m *member) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (m *member) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for message := range claim.Messages() {
		m.take(session, message)
	}
	return nil
}

func (m *member) take(session sarama.ConsumerGroupSession, message *sarama.ConsumerMessage) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if m.left == 0 {
		return
	}
	m.answer(consumed(message))
	session.MarkMessage(message, "")
	m.left--
	if m.left == 0 {
		session.Commit()
		m.cancel()
	}
}

func group(request *contract.Request, answer contract.Answer) error {
	config := sarama.NewConfig()
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Enable = false
	client, err := sarama.NewConsumerGroup([]string{request.Bootstrap}, request.Group, config)
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	reader := &member{left: request.Count, answer: answer, cancel: cancel}
	for ctx.Err() == nil {
		if err := client.Consume(ctx, []string{request.Topic}, reader); err != nil {
			return err
		}
	}
	return nil
}

func withAdmin(request *contract.Request, work func(sarama.Client, sarama.ClusterAdmin) error) error {
	client, err := sarama.NewClient([]string{request.Bootstrap}, sarama.NewConfig())
	if err != nil {
		return err
	}
	admin, err := sarama.NewClusterAdminFromClient(client)
	if err != nil {
		return err
	}
	defer admin.Close()
	return work(client, admin)
}

func create(request *contract.Request, _ contract.Answer) error {
	return withAdmin(request, func(_ sarama.Client, admin sarama.ClusterAdmin) error {
		detail := sarama.TopicDetail{NumPartitions: request.PartitionCount(), ReplicationFactor: 1, ConfigEntries: request.Config}
		return admin.CreateTopic(request.Topic, &detail, false)
	})
}

func alter(request *contract.Request, _ contract.Answer) error {
	return withAdmin(request, func(_ sarama.Client, admin sarama.ClusterAdmin) error {
		changes := make(map[string]sarama.IncrementalAlterConfigsEntry)
		for name, value := range request.Config {
			changes[name] = sarama.IncrementalAlterConfigsEntry{
				Operation: sarama.IncrementalAlterConfigsOperationSet, Value: value}
		}
		return admin.IncrementalAlterConfig(sarama.TopicResource, request.Topic, changes, false)
	})
}

func describe(request *contract.Request, answer contract.Answer) error {
	return withAdmin(request, func(client sarama.Client, admin sarama.ClusterAdmin) error {
		topics, err := admin.DescribeTopics([]string{request.Topic})
		if err != nil {
			return err
		}
		found := contract.Description{Partitions: len(topics[0].Partitions), Config: map[string]string{}}
		for partition := range int32(found.Partitions) {
			earliest, err := client.GetOffset(request.Topic, partition, sarama.OffsetOldest)
			if err != nil {
				return err
			}
			latest, err := client.GetOffset(request.Topic, partition, sarama.OffsetNewest)
			if err != nil {
				return err
			}
			found.Earliest, found.Latest = append(found.Earliest, earliest), append(found.Latest, latest)
		}
		entries, err := admin.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: request.Topic})
		if err != nil {
			return err
		}
		for _, entry := range entries {
			found.Config[entry.Name] = entry.Value
		}
		answer(found)
		return nil
	})
}

func remove(request *contract.Request, _ contract.Answer) error {
	return withAdmin(request, func(_ sarama.Client, admin sarama.ClusterAdmin) error {
		return admin.DeleteTopic(request.Topic)
	})
}

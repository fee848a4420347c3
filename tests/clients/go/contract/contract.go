// Package contract is the driver's side of the contract of ../../README.md.
package contract

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
)

// Request is one line of stdin. Byte slices are base64 in JSON; nil is null.
type Request struct {
	Verb      string
	Bootstrap string
	Topic     string

	Records    []Record
	Codec      string
	JavaKeys   bool `json:"java_keys"`
	Idempotent bool

	Partitions json.RawMessage
	Offset     *int64
	Time       *int64
	Count      int
	Group      string
	Protocol   string

	Name  string
	Until string

	Config map[string]*string
}

// Record is a record to produce, or, with its offset, one that was read.
type Record struct {
	Partition *int32   `json:"partition"`
	Offset    int64    `json:"offset"`
	Timestamp *int64   `json:"timestamp"`
	Key       []byte   `json:"key"`
	Value     []byte   `json:"value"`
	Headers   []Header `json:"headers"`
}

// Header is a pair in JSON.
type Header struct {
	Name  string
	Value []byte
}

// MarshalJSON writes the pair.
func (h Header) MarshalJSON() ([]byte, error) {
	return json.Marshal([]any{h.Name, h.Value})
}

// UnmarshalJSON reads the pair.
func (h *Header) UnmarshalJSON(text []byte) error {
	return json.Unmarshal(text, &[]any{&h.Name, &h.Value})
}

// Assigned are the partitions of a consume request.
func (r *Request) Assigned() (partitions []int32) {
	must(json.Unmarshal(r.Partitions, &partitions))
	return partitions
}

// PartitionCount is that of a create request.
func (r *Request) PartitionCount() (count int32) {
	must(json.Unmarshal(r.Partitions, &count))
	return count
}

// Description answers a describe request.
type Description struct {
	Partitions int               `json:"partitions"`
	Earliest   []int64           `json:"earliest"`
	Latest     []int64           `json:"latest"`
	Config     map[string]string `json:"config"`
}

// Answer writes one line.
type Answer func(line any)

// Serve answers every request on stdin.
func Serve(verbs map[string]func(*Request, Answer) error) {
	in, out := bufio.NewReader(os.Stdin), bufio.NewWriter(os.Stdout)
	answer := func(line any) {
		must(json.NewEncoder(out).Encode(line))
		must(out.Flush())
	}
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		var request Request
		must(json.Unmarshal(line, &request))
		if err := verbs[request.Verb](&request, answer); err != nil {
			answer(map[string]string{"error": err.Error()})
		} else {
			answer(map[string]bool{"done": true})
		}
	}
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"
)

// question is an expression and what was scraped: each series has a value every 15 seconds. It is asked for at the last of them.
type question struct {
	Expr   string   `json:"expr"`
	Series []series `json:"series"`
}

type series struct {
	Labels map[string]string `json:"labels"`
	Values []float64         `json:"values"`
}

const scrapeInterval = 15_000

// evaluate gives how many series the expression has: an alert with any is pending or fires.
func evaluate(syntax parser.Parser, q question) (int, error) {
	var all []storage.Series
	last := int64(0)
	for _, one := range q.Series {
		var samples []chunks.Sample
		for i, value := range one.Values {
			samples = append(samples, sample{int64(i) * scrapeInterval, value})
			last = max(last, int64(i)*scrapeInterval)
		}
		all = append(all, storage.NewListSeries(labels.FromMap(one.Labels), samples))
	}
	find := func(_ bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
		var found []storage.Series
		for _, one := range all {
			fits := true
			for _, m := range matchers {
				fits = fits && m.Matches(one.Labels().Get(m.Name))
			}
			if fits {
				found = append(found, one)
			}
		}
		return &set{series: found}
	}
	engine := promql.NewEngine(promql.EngineOpts{
		MaxSamples: 1_000_000, Timeout: time.Minute, LookbackDelta: 5 * time.Minute, Parser: syntax,
	})
	query, err := engine.NewInstantQuery(context.Background(),
		&storage.MockQueryable{MockQuerier: &storage.MockQuerier{SelectMockFunction: find}}, nil, q.Expr,
		model.Time(last).Time())
	if err != nil {
		return 0, err
	}
	defer query.Close()
	result := query.Exec(context.Background())
	vector, err := result.Vector()
	if err != nil {
		return 0, fmt.Errorf("%s: %w", q.Expr, err)
	}
	return len(vector), nil
}

type sample struct {
	at    int64
	value float64
}

func (s sample) T() int64                      { return s.at }
func (s sample) ST() int64                     { return 0 }
func (s sample) F() float64                    { return s.value }
func (s sample) H() *histogram.Histogram       { return nil }
func (s sample) FH() *histogram.FloatHistogram { return nil }
func (s sample) Type() chunkenc.ValueType      { return chunkenc.ValFloat }
func (s sample) Copy() chunks.Sample           { return s }

type set struct {
	series []storage.Series
	next   int
}

func (s *set) Next() bool                        { s.next++; return s.next <= len(s.series) }
func (s *set) At() storage.Series                { return s.series[s.next-1] }
func (s *set) Err() error                        { return nil }
func (s *set) Warnings() annotations.Annotations { return nil }

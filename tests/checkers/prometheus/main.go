// What Prometheus thinks of rules and expressions: the parsers that Prometheus itself and its promtool use, without the rest.
//
//	prometheus-check RULES.yaml...   exits with 1 and says why if a file of rules is not valid
//	prometheus-check < EXPRESSIONS   for each line prints what it selects, a line of JSON
//	prometheus-check --evaluate < QUESTIONS   for each line, JSON, prints how many series the expression has
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

type selector struct {
	Name   string   `json:"name"`
	Labels []string `json:"labels"`
}

type selected struct {
	Selectors []selector `json:"selectors"`
	Grouping  []string   `json:"grouping"`
}

func main() {
	promql := parser.NewParser(parser.Options{})
	if len(os.Args) == 2 && os.Args[1] == "--evaluate" {
		answer(promql)
		return
	}
	failed := false
	for _, file := range os.Args[1:] {
		_, errs := rulefmt.ParseFile(file, false, model.UTF8Validation, promql, slog.Default())
		for _, err := range errs {
			fmt.Fprintf(os.Stderr, "%s: %v\n", file, err)
			failed = true
		}
	}
	if len(os.Args) == 1 {
		lines := bufio.NewScanner(os.Stdin)
		for lines.Scan() {
			expr, err := promql.ParseExpr(lines.Text())
			if err != nil {
				fmt.Fprintf(os.Stderr, "%s: %v\n", lines.Text(), err)
				failed = true
				continue
			}
			out, _ := json.Marshal(look(expr))
			fmt.Println(string(out))
		}
	}
	if failed {
		os.Exit(1)
	}
}

func answer(promql parser.Parser) {
	questions := json.NewDecoder(os.Stdin)
	for questions.More() {
		var q question
		err := questions.Decode(&q)
		count := 0
		if err == nil {
			count, err = evaluate(promql, q)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(count)
	}
}

func look(expr parser.Expr) selected {
	found := selected{Selectors: []selector{}, Grouping: []string{}}
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		switch n := node.(type) {
		case *parser.VectorSelector:
			labels := []string{}
			for _, m := range n.LabelMatchers {
				if m.Name != model.MetricNameLabel {
					labels = append(labels, m.Name)
				}
			}
			found.Selectors = append(found.Selectors, selector{n.Name, labels})
		case *parser.AggregateExpr:
			found.Grouping = append(found.Grouping, n.Grouping...)
		}
		return nil
	})
	return found
}

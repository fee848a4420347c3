// Whether Kubernetes would know every field of the manifests on stdin: its own decoder, told to be strict. Kinds that are not
// its own, such as those of the Prometheus operator, are not looked at.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
)

func main() {
	decoder := json.NewSerializerWithOptions(json.DefaultMetaFactory, scheme.Scheme, scheme.Scheme,
		json.SerializerOptions{Yaml: true, Strict: true})
	documents := yaml.NewYAMLReader(bufio.NewReader(os.Stdin))
	failed := false
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		_, kind, err := decoder.Decode(document, nil, nil)
		switch {
		case runtime.IsMissingKind(err): // nothing but comments
		case runtime.IsNotRegisteredError(err):
			fmt.Println("unknown", kind.Kind)
		case err != nil:
			fmt.Fprintln(os.Stderr, kind, err)
			failed = true
		default:
			fmt.Println("ok", kind.Kind)
		}
	}
	if failed {
		os.Exit(1)
	}
}

// Command csi-descriptors prints what the Container Storage Interface looks like on the wire, as JSON: every
// service, message, enum and extension of package csi.v1 in the descriptor that upstream's Go module carries.
//
// The outcome is checked in as proto/tests/data/csi-1.12.0.json and compared with our own .proto files by
// `cargo test -p csi-proto --all-features --test wire`. To renew it, in this folder:
//
//	go run . > ../../proto/tests/data/csi-1.12.0.json
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime/debug"
	"slices"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/protobuf/reflect/protoreflect"
)

const module = "github.com/container-storage-interface/spec"

type document struct {
	Module     string               `json:"module"`
	Version    string               `json:"version"`
	Package    string               `json:"package"`
	Services   map[string]service   `json:"services"`
	Messages   map[string]message   `json:"messages"`
	Enums      map[string]enum      `json:"enums"`
	Extensions map[string]extension `json:"extensions"`
}

type service struct {
	Options []string          `json:"options"`
	Methods map[string]method `json:"methods"`
}

type method struct {
	Input           string   `json:"input"`
	Output          string   `json:"output"`
	ClientStreaming bool     `json:"client_streaming"`
	ServerStreaming bool     `json:"server_streaming"`
	Options         []string `json:"options"`
}

type message struct {
	Options []string         `json:"options"`
	Fields  map[string]field `json:"fields"`
}

type field struct {
	Number int32  `json:"number"`
	Label  string `json:"label"`
	Type   string `json:"type"`
	// Full name of the message or enum; empty for scalars.
	TypeName string `json:"type_name"`
	// Empty outside a oneof.
	Oneof   string   `json:"oneof"`
	Options []string `json:"options"`
}

type enum struct {
	Options []string         `json:"options"`
	Values  map[string]value `json:"values"`
}

type value struct {
	Number  int32    `json:"number"`
	Options []string `json:"options"`
}

type extension struct {
	Extendee string `json:"extendee"`
	Number   int32  `json:"number"`
	Label    string `json:"label"`
	Type     string `json:"type"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "csi-descriptors:", err)
		os.Exit(1)
	}
}

func run() error {
	version, err := moduleVersion()
	if err != nil {
		return err
	}
	file := csi.File_csi_proto
	doc := document{
		Module:     module,
		Version:    version,
		Package:    string(file.Package()),
		Services:   map[string]service{},
		Messages:   map[string]message{},
		Enums:      map[string]enum{},
		Extensions: map[string]extension{},
	}
	for i := range file.Services().Len() {
		s := file.Services().Get(i)
		doc.Services[string(s.FullName())] = describeService(s)
	}
	for i := range file.Extensions().Len() {
		e := file.Extensions().Get(i)
		doc.Extensions[string(e.FullName())] = extension{
			Extendee: string(e.ContainingMessage().FullName()),
			Number:   int32(e.Number()),
			Label:    e.Cardinality().String(),
			Type:     e.Kind().String(),
		}
	}
	doc.addEnums(file.Enums())
	doc.addMessages(file.Messages())

	out := json.NewEncoder(os.Stdout)
	out.SetIndent("", " ")
	return out.Encode(doc)
}

// The version that was built in, so that the file cannot claim another one.
func moduleVersion() (string, error) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "", fmt.Errorf("built without module information")
	}
	for _, dep := range info.Deps {
		if dep.Path == module {
			return dep.Version, nil
		}
	}
	return "", fmt.Errorf("%s is not among the modules this program was built from", module)
}

func describeService(s protoreflect.ServiceDescriptor) service {
	methods := map[string]method{}
	for i := range s.Methods().Len() {
		m := s.Methods().Get(i)
		methods[string(m.Name())] = method{
			Input:           string(m.Input().FullName()),
			Output:          string(m.Output().FullName()),
			ClientStreaming: m.IsStreamingClient(),
			ServerStreaming: m.IsStreamingServer(),
			Options:         options(m),
		}
	}
	return service{Options: options(s), Methods: methods}
}

func (d *document) addMessages(messages protoreflect.MessageDescriptors) {
	for i := range messages.Len() {
		m := messages.Get(i)
		fields := map[string]field{}
		for j := range m.Fields().Len() {
			f := m.Fields().Get(j)
			fields[string(f.Name())] = describeField(f)
		}
		d.Messages[string(m.FullName())] = message{Options: options(m), Fields: fields}
		d.addEnums(m.Enums())
		d.addMessages(m.Messages())
	}
}

func describeField(f protoreflect.FieldDescriptor) field {
	described := field{
		Number:  int32(f.Number()),
		Label:   f.Cardinality().String(),
		Type:    f.Kind().String(),
		Options: options(f),
	}
	if m := f.Message(); m != nil {
		described.TypeName = string(m.FullName())
	}
	if e := f.Enum(); e != nil {
		described.TypeName = string(e.FullName())
	}
	if o := f.ContainingOneof(); o != nil {
		described.Oneof = string(o.Name())
	}
	return described
}

func (d *document) addEnums(enums protoreflect.EnumDescriptors) {
	for i := range enums.Len() {
		e := enums.Get(i)
		values := map[string]value{}
		for j := range e.Values().Len() {
			v := e.Values().Get(j)
			values[string(v.Name())] = value{Number: int32(v.Number()), Options: options(v)}
		}
		d.Enums[string(e.FullName())] = enum{Options: options(e), Values: values}
	}
}

// Every option that is set, built-in ones included, as "full name=value", sorted.
func options(d protoreflect.Descriptor) []string {
	set := []string{}
	d.Options().ProtoReflect().Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		set = append(set, fmt.Sprintf("%s=%v", f.FullName(), v.Interface()))
		return true
	})
	slices.Sort(set)
	return set
}

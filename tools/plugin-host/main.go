// A host that asks its plugin for broker multiplexing, as Vault does of plugins in containers: one connection
// carries everything. It is HashiCorp's own code that speaks to the plugin; this program only drives it: set a mount
// up, write a role, read it back. Storage lies in this process, so the plugin dials back for each.
//
//	go run . <plugin>
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/sdk/plugin"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: go run . <plugin>")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
	fmt.Println("ok")
}

func run(program string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	logger := hclog.New(&hclog.LoggerOptions{Output: os.Stderr, Level: hclog.Debug})
	client := goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig: plugin.HandshakeConfig,
		VersionedPlugins: map[int]goplugin.PluginSet{
			5: {"backend": &plugin.GRPCBackendPlugin{}},
		},
		Cmd:                 exec.CommandContext(ctx, program),
		AutoMTLS:            true,
		GRPCBrokerMultiplex: true,
		AllowedProtocols:    []goplugin.Protocol{goplugin.ProtocolGRPC},
		Logger:              logger,
	})
	defer client.Kill()
	connection, err := client.Client()
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	raw, err := connection.Dispense("backend")
	if err != nil {
		return fmt.Errorf("dispense: %w", err)
	}
	backend := raw.(logical.Backend)
	storage := &logical.InmemStorage{}
	err = backend.Setup(ctx, &logical.BackendConfig{
		StorageView: storage,
		Logger:      logger,
		System:      logical.TestSystemView(),
		Config:      map[string]string{"plugin_name": "plugin"},
	})
	if err != nil {
		return fmt.Errorf("setup: %w", err)
	}
	if err := backend.Initialize(ctx, &logical.InitializationRequest{Storage: storage}); err != nil {
		return fmt.Errorf("initialize: %w", err)
	}
	ask := func(operation logical.Operation, data map[string]interface{}) (*logical.Response, error) {
		answer, err := backend.HandleRequest(ctx, &logical.Request{
			ID: "request", Operation: operation, Path: "roles/r", Data: data, Storage: storage,
		})
		if err == nil && answer.IsError() {
			err = answer.Error()
		}
		return answer, err
	}
	if _, err := ask(logical.UpdateOperation, map[string]interface{}{"policy": "readonly"}); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	keys, err := storage.List(ctx, "roles/")
	if err != nil {
		return fmt.Errorf("list: %w", err)
	}
	if len(keys) != 1 || keys[0] != "r" {
		return fmt.Errorf("this host's storage has the roles %v", keys)
	}
	answer, err := ask(logical.ReadOperation, nil)
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	if answer == nil || answer.Data["policy"] != "readonly" {
		return fmt.Errorf("read: %v", answer)
	}
	backend.Cleanup(ctx)
	client.Kill()
	if !client.Exited() {
		return errors.New("the plugin did not end")
	}
	return nil
}

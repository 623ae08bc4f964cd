package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Names that the apps under test and the sidecar agree on.
const (
	appID       = "app"
	pubSub      = "broker" // the pub/sub component
	topic       = "messages"
	cronBinding = "tick" // the binding, and so the path that it calls
	appMethod   = "call" // the method invoked
)

// The name resolver of daprd's default, mDNS, joins a multicast group. The
// Kubernetes one only fills in a template, so it needs neither a network nor
// Kubernetes.
const daprdConfiguration = `apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata:
  name: loopback
spec:
  nameResolution:
    component: kubernetes
    version: v1
    configuration:
      template: "127.0.0.1:{{.Port}}"
`

// Messages that were not acknowledged come again after two or three seconds,
// not after the component's default of a minute. The interval must be a bare
// number of milliseconds: the component ignores it in the form "1s".
const pubSubComponent = `apiVersion: dapr.io/v1alpha1
kind: Component
metadata:
  name: ` + pubSub + `
spec:
  type: pubsub.redis
  version: v1
  metadata:
  - name: redisHost
    value: %q
  - name: redisPassword
    value: ""
  - name: redeliverInterval
    value: "1000"
  - name: processingTimeout
    value: "2000"
`

const cronComponent = `apiVersion: dapr.io/v1alpha1
kind: Component
metadata:
  name: ` + cronBinding + `
spec:
  type: bindings.cron
  version: v1
  metadata:
  - name: schedule
    value: "@every 1s"
`

// resiliency is the file of deploy/ with this app and this component in place of
// the names that it has there.
func resiliency(tb testing.TB) string {
	tb.Helper()
	path := filepath.Join("..", "..", "deploy", "sidecar", "dapr", "resiliency", "resiliency.yaml")
	file, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	text := string(file)
	for name, ours := range map[string]string{
		"\nscopes: [orders]\n": "\nscopes: [" + appID + "]\n",
		"\n      pubsub: ":     "\n      " + pubSub + ": ",
	} {
		if strings.Count(text, name) != 1 {
			tb.Fatalf("%s: %q is not in it exactly once", path, name)
		}
		text = strings.Replace(text, name, ours, 1)
	}
	return text
}

// writeResources puts the components and the configuration into temporary
// files and returns their paths.
func writeResources(tb testing.TB, cfg sidecarConfig) (resources, config string) {
	tb.Helper()
	dir := tb.TempDir()
	resources, config = filepath.Join(dir, "resources"), filepath.Join(dir, "config.yaml")
	if err := os.Mkdir(resources, 0o700); err != nil {
		tb.Fatal(err)
	}
	files := map[string]string{
		filepath.Join(resources, "broker.yaml"): fmt.Sprintf(pubSubComponent, cfg.Redis),
		filepath.Join(resources, "tick.yaml"):   cronComponent,
		config:                                  daprdConfiguration,
	}
	if cfg.Redeliver {
		files[filepath.Join(resources, "resiliency.yaml")] = resiliency(tb)
	}
	for path, content := range files {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	return resources, config
}

package e2e

import (
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestExamples rotates under load in front of the example apps in Node and Python, which
// check no token. Nothing is refused, nothing is lost, and no app closes a connection
// during a request.
func TestExamples(t *testing.T) {
	for _, c := range []struct{ name, program, file string }{
		{"node", "node", "node-dapr/app.js"},
		{"python", "python3", "python-dapr/app.py"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			program, err := exec.LookPath(c.program)
			if err != nil {
				t.Fatalf("install %s; run.sh does: %v", c.program, err)
			}
			x := &example{}
			b := newBench(t, way{name: c.name, protocol: "http", start: func(t *testing.T, _ *appTally, s setting) (int, view) {
				t.Helper()
				port := freePort(t)
				x.start(t, program, filepath.Join("..", "..", "examples", c.file), port)
				return startProxy(t, s, "http://"+loopback(port), "/healthz")
			}}, setting{overlap: time.Minute})
			b.side.Start(b.token())
			b.messages = startStream(t, "message", 2, 10*time.Millisecond, b.side.Publish, nil)
			x.flow(t)

			for n := range rotations {
				previous := b.accepted("previous")
				switches[n%len(switches)](b)
				waitFor(t, 10*time.Second, "the old token is used, in the previous slot", func() bool {
					return b.accepted("previous") > previous
				})
				if n%2 == 0 {
					b.side.Recreate(b.token())
				} else {
					b.side.Surge(b.token())
				}
				current := b.accepted("current")
				x.flow(t)
				if b.accepted("current") <= current {
					t.Errorf("rotation %d: traffic goes on, but not with the new token", n+1)
				}
			}
			b.messages.Stop()
			waitFor(t, 45*time.Second, "every published message is handled", func() bool {
				return len(x.handled().Missing(&b.messages.Acked)) == 0
			})
			if n := b.refused(); n != 0 {
				t.Errorf("%d refused in %d well-ordered rotations", n, rotations)
			}
			if n := strings.Count(b.view.Log(), "did not answer"); n != 0 {
				t.Errorf("%d requests met a connection that the app had closed", n)
			}
			for i, token := range b.tokens {
				if token.Leaked(x.process.Output()) {
					t.Errorf("token %d of %d is in what the app printed", i+1, len(b.tokens))
				}
			}
			b.scan()
			done := x.handled()
			t.Logf("%d rotations, %d refused, published %d, handled %d (%d of them again)",
				rotations, b.refused(), b.messages.Acked.Len(), done.Len(), done.Repeats())
		})
	}
}

// An example is an app that prints what it handles.
type example struct{ process *process }

// start returns when the app answers, because daprd asks for subscriptions only once.
func (x *example) start(t *testing.T, program, file string, port int) {
	t.Helper()
	x.process = startProcess(t, filepath.Base(file), program, []string{file}, []string{
		fmt.Sprintf("PORT=%d", port), "PUBSUB=" + pubSub, "TOPIC=" + topic,
	})
	client := &http.Client{Timeout: 5 * time.Second}
	t.Cleanup(client.CloseIdleConnections)
	waitFor(t, 10*time.Second, "the app answers", func() bool {
		res, err := client.Get("http://" + loopback(port) + "/healthz")
		if err != nil {
			return false
		}
		_ = res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
}

// order is what the apps print for a message.
var order = regexp.MustCompile(`(?m)^order "(.*)" from token$`)

func (x *example) handled() *idSet {
	var ids idSet
	for _, m := range order.FindAllStringSubmatch(x.process.Output(), -1) {
		ids.Add(m[1])
	}
	return &ids
}

// flow waits until new messages have reached the app.
func (x *example) flow(t *testing.T) {
	t.Helper()
	before := x.handled().Len()
	waitFor(t, 20*time.Second, "messages come in", func() bool { return x.handled().Len() >= before+10 })
}

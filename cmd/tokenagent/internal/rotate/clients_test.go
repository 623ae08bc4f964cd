package rotate_test

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/auto"
)

func encode(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

// annotation returns what the Secret of a namespace says of rotations.
func (w *world) annotation(ns string) (is map[string]any) {
	metadata, _ := w.api.Get(secretPath(ns))["metadata"].(object)
	annotations, _ := metadata["annotations"].(object)
	text, _ := annotations[auto.Annotation].(string)
	_ = json.Unmarshal([]byte(text), &is)
	return is
}

// annotate lets the Secret of a namespace say text of rotations.
func (w *world) annotate(ns, text string) {
	o := w.api.Get(secretPath(ns))
	o["metadata"].(object)["annotations"] = object{auto.Annotation: text}
	w.api.Put(secretPath(ns), o)
}

// Two clients of one Secret rotate at the same time, also if they restart the same workload.
func TestClientsOfOneSecretRotateAtTheSameTime(t *testing.T) {
	long := strings.Repeat("c", 63) // the longest name
	for _, lag := range []time.Duration{0, 30 * time.Second, 100 * time.Second, 3 * time.Minute} {
		inWorld(t, func(t *testing.T, w *world) {
			for _, ns := range []string{"a", "b"} {
				o := w.api.Get(secretPath(ns))
				o["data"].(object)["token."+long] = encode(two)
				w.api.Put(secretPath(ns), o)
			}
			named := w.options()
			named.Secrets.Read.Client = long
			both := make(chan error)
			go func() {
				w.sleep(lag)
				both <- auto.New(named).Run(w.ctx)
			}()
			go func() { both <- auto.New(w.options()).Run(w.ctx) }()
			for range 2 {
				if err := <-both; err != nil {
					t.Errorf("%v: %v", lag, err)
				}
			}
			w.isRotated("a", "b")
			for _, ns := range []string{"a", "b"} {
				keys, says := w.keys(ns), w.annotation(ns)
				if got := string(keys["token."+long]); got == two || keys["token-next."+long] != nil || keys["token-previous."+long] != nil {
					t.Errorf("%v: %s: %v", lag, ns, keysOf(keys))
				}
				own, _ := says["clients"].(object)[long].(object)
				if says["step"] != "retired" || own["step"] != "retired" || own["id"] == says["id"] ||
					own["fingerprint"] != fingerprint(string(keys["token."+long])) || says["fingerprint"] != fingerprint(string(keys["token"])) {
					t.Errorf("%v: %s says %v", lag, ns, says)
				}
			}
			restarts := 0
			for _, r := range w.api.Requests() {
				if strings.HasPrefix(r, "PUT ") && strings.HasSuffix(r, "/deployments/web") {
					restarts++
				}
			}
			if restarts > 4 {
				t.Errorf("%v: %d restarts", lag, restarts)
			}
			if err := auto.New(named).Run(t.Context()); err != nil || w.step("a") != "idle" {
				t.Errorf("%v: again: %v", lag, err)
			}
		})
	}
}

// A mark that is not of what the Secret holds now says nothing: the senders are restarted all
// the same.
func TestMarkOfAnotherRotationSaysNothing(t *testing.T) {
	const since = `"since":"2000-01-01T00:00:00Z"`
	for name, text := range map[string]string{
		"of another token":  `{"id":"r0","step":"promoted",` + since + `,"fingerprint":"01234567"}`,
		"aborted":           `{"id":"r0","step":"aborted",` + since + `,"fingerprint":"01234567"}`,
		"without an ID":     `{"step":"promoted",` + since + `}`,
		"of another step":   `{"id":"r0","step":"x",` + since + `}`,
		"without a time":    `{"id":"r0","step":"promoted"}`,
		"not whole":         `{"id":"r0","step":"promoted",` + since,
		"with a bad time":   `{"id":"r0","step":"promoted","since":7}`,
		"with a bad member": `{"id":"r0","step":"promoted",` + since + `,"fingerprint":7}`,
		"of a client":       `{"clients":{"ci":{"id":"r0","step":"promoted",` + since + `}}}`,
	} {
		inWorld(t, func(t *testing.T, w *world) {
			for _, ns := range []string{"a", "b"} {
				o := w.api.Get(secretPath(ns))
				o["data"] = object{"token": encode(two), "token-previous": encode(one), "token-previous-until": encode("2000-01-01T06:00:00Z"), "mine": "eA=="}
				w.api.Put(secretPath(ns), o)
				w.annotate(ns, text)
				o = w.api.Get(deploymentPath(ns))
				o["spec"].(object)["template"] = object{"metadata": object{"annotations": object{auto.Annotation: "r0"}}}
				w.api.Put(deploymentPath(ns), o)
				for _, path := range w.api.List("/namespaces/" + ns + "/pods/") {
					o := w.api.Get(path)
					o["metadata"].(object)["annotations"] = object{auto.Annotation: "r0"}
					w.api.Put(path, o)
				}
			}
			w.sleep(2 * time.Minute)
			w.refused = nil // nobody had staged it
			if err := auto.New(w.options()).Run(t.Context()); err != nil {
				t.Fatal(name, err)
			}
			w.isRotated("a", "b")
		})
	}
}

// A rotation that a tokenagent without fingerprints in its marks has begun goes on.
func TestMarkOfTheVersionBeforeIsRead(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		for _, ns := range []string{"a", "b"} {
			o := w.api.Get(secretPath(ns))
			o["data"].(object)["token-next"] = encode(two)
			w.api.Put(secretPath(ns), o)
			w.annotate(ns, `{"id":"r0","step":"staged","since":"2000-01-01T00:00:00Z"}`)
		}
		if err := auto.New(w.options()).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.isRotated("a", "b")
		if says := w.annotation("a"); says["id"] != "r0" || says["step"] != "retired" || says["fingerprint"] != fingerprint(two) {
			t.Errorf("it says %v", says)
		}
	})
}

// An abort of steps by hand gives the rotation that takes them back an ID, so that a second
// abort changes nothing.
func TestAbortOfStepsByHandHasAnID(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		for _, ns := range []string{"a", "b"} {
			o := w.api.Get(secretPath(ns))
			o["data"] = object{"token": encode(two), "token-previous": encode(one), "token-previous-until": encode("2000-01-01T06:00:00Z"), "mine": "eA=="}
			w.api.Put(secretPath(ns), o)
		}
		for range 2 {
			if err := auto.New(w.options()).Abort(t.Context()); err != nil {
				t.Fatal(err)
			}
			id, _ := w.annotation("a")["id"].(string)
			if string(w.keys("a")["token"]) != one || len(id) < 16 || w.annotation("b")["id"] != id {
				t.Errorf("%s is current, and it says %v", fingerprint(string(w.keys("a")["token"])), w.annotation("a"))
			}
		}
	})
}

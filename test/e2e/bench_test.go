package e2e

import (
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"time"
)

// A bench is one app with its tokenagent, its daprd and a broker of its own.
type bench struct {
	t      *testing.T
	way    way
	mount  *secretMount
	tokens []sharedToken // all that ever were in the Secret, newest last
	tally  appTally
	view   view
	port   int // where daprd sends
	side   *sidecar

	messages, calls *stream
	callsRefused    atomic.Int64 // as the callers saw it
}

// newBench starts everything except daprd. It makes the Secret's first token. The token
// is in the mount, unless tokenagent must wait for it.
func newBench(t *testing.T, w way, s setting) *bench {
	t.Helper()
	b := &bench{t: t, way: w, mount: newSecretMount(t), tokens: []sharedToken{newToken()}}
	if !s.wait {
		b.mount.Publish(map[string]string{"token": string(b.token())})
	}
	s.dir = b.mount.Dir
	b.port, b.view = w.start(t, &b.tally, s)
	cfg := sidecarConfig{
		Binary: built(t, daprdBinary), AppPort: b.port, Protocol: w.protocol, Health: s.wait, Redis: startRedis(t), Redeliver: losesRefused(t),
	}
	if s.under != nil {
		cfg.Under = s.under(s.dir)
	}
	b.side = newSidecar(t, cfg)
	return b
}

// token returns the newest token.
func (b *bench) token() sharedToken { return b.tokens[len(b.tokens)-1] }

// load starts daprd with the current token, and traffic of every kind. It returns when
// each kind of traffic has reached the app.
func (b *bench) load(beat time.Duration) {
	b.t.Helper()
	b.side.Start(b.token())
	b.messages = startStream(b.t, "message", 2, beat, b.side.Publish, nil)
	b.calls = startStream(b.t, "call", 1, beat, b.side.Invoke, func(err error) {
		var status statusError
		if errors.As(err, &status) && (status == http.StatusUnauthorized || status == http.StatusServiceUnavailable) {
			b.callsRefused.Add(1)
		}
	})
	b.flow()
}

// flow waits until new messages, new calls and a tick have reached the app.
func (b *bench) flow() {
	b.t.Helper()
	messages, calls, ticks := b.tally.Messages.Len(), b.tally.Calls.Len(), b.tally.Ticks.Load()
	waitFor(b.t, 20*time.Second, "messages, calls and a cron tick come in", func() bool {
		return b.tally.Messages.Len() >= messages+10 && b.tally.Calls.Len() >= calls+10 && b.tally.Ticks.Load() > ticks
	})
}

// renew makes a new token. It does not publish it.
func (b *bench) renew() (old, next sharedToken) {
	old, next = b.token(), newToken()
	b.tokens = append(b.tokens, next)
	return old, next
}

// publish makes keys the Secret's content, and returns how long it took until
// tokenagent showed the newest token in the slot.
func (b *bench) publish(slot string, keys map[string]string) (took time.Duration) {
	b.t.Helper()
	b.mount.Publish(keys)
	want := labels{"slot": slot, "fingerprint": b.token().Fingerprint()}
	return waitFor(b.t, 15*time.Second, "tokenagent shows the new token as "+slot, func() bool {
		return b.page().Has("tokenagent_token_info", want)
	})
}

// drain ends the load and waits until everything acknowledged was handled.
func (b *bench) drain() {
	b.t.Helper()
	b.messages.Stop()
	b.calls.Stop()
	waitFor(b.t, 45*time.Second, "every published message is handled", func() bool {
		return len(b.tally.Messages.Missing(&b.messages.Acked)) == 0
	})
	if missing := b.tally.Calls.Missing(&b.calls.Acked); len(missing) > 0 {
		b.t.Errorf("%d calls answered with success never reached the app: %v", len(missing), missing)
	}
	if n := b.tally.TokenSeen.Load(); n > 0 {
		b.t.Errorf("%d requests reached the app with the token still in them", n)
	}
	b.t.Logf("published %d, handled %d (%d of them again), invoked %d, ticks %d, calls made again %d, publications made again %d",
		b.messages.Acked.Len(), b.tally.Messages.Len(), b.tally.Messages.Repeats(), b.calls.Acked.Len(), b.tally.Ticks.Load(),
		b.calls.Failed(), b.messages.Failed())
}

func (b *bench) page() metricsPage { return parseMetrics(b.t, b.view.Metrics()) }

// accepted returns the number of accepted verifications in the slot; "" means any slot.
func (b *bench) accepted(slot string) int {
	match := labels{"result": "ok"}
	if slot != "" {
		match["slot"] = slot
	}
	return int(b.page().Sum("tokenagent_verifications_total", match))
}

// noneSince fails the test if the app handled a request that began after the tally's
// mark, or if more verifications were accepted than the given number. It removes the mark.
func (b *bench) noneSince(event string, accepted int) {
	b.t.Helper()
	if n := b.accepted("") - accepted; n > 0 {
		b.t.Errorf("%d verifications were accepted after %s", n, event)
	}
	if n, latest := b.tally.SinceMark(); n > 0 {
		b.t.Errorf("%d requests that began after %s were handled, the last %v after it", n, event, latest)
	}
	b.tally.Unmark()
}

// refused returns the number of refusals: the largest of the counts of the agent, the
// app and the callers.
func (b *bench) refused() int {
	page := b.page()
	const name = "tokenagent_verifications_total"
	counted := page.Sum(name, nil) - page.Sum(name, labels{"result": "ok"})
	return int(max(counted, float64(b.tally.Refused.Load()), float64(b.callsRefused.Load())))
}

// overlapExpires returns when the old token's overlap ends, or zero if the metrics show
// none. The time is on the monotonic clock, like the agent's own deadline, so that a
// change of the wall clock does not move it.
func (b *bench) overlapExpires() time.Time {
	b.t.Helper()
	seconds := b.page().Sum("tokenagent_overlap_expires_timestamp_seconds", labels{"source": "token"})
	if seconds == 0 {
		return time.Time{}
	}
	now := time.Now()
	return now.Add(time.UnixMicro(int64(seconds * 1e6)).Sub(now))
}

// admits reports whether the app accepts a direct call, not through daprd, with the token.
func (b *bench) admits(token sharedToken) bool {
	b.t.Helper()
	call := callHTTPApp
	if b.way.protocol == "grpc" {
		call = callGRPCApp
	}
	admitted, err := call(b.t.Context(), loopback(b.port), string(token))
	if err != nil {
		b.t.Fatalf("call the app: %v", err)
	}
	return admitted
}

// scan searches everything that tokenagent shows for every token that was ever used.
func (b *bench) scan() {
	b.t.Helper()
	for name, text := range map[string]string{
		"log": b.view.Log(), "metrics": b.view.Metrics(), "pages": b.view.Pages(),
	} {
		if text == "" {
			b.t.Errorf("the %s is empty, so that the search for tokens in it shows nothing", name)
		}
		for i, token := range b.tokens {
			if token.Leaked(text) {
				b.t.Errorf("token %d of %d is in the %s", i+1, len(b.tokens), name)
			}
		}
	}
}

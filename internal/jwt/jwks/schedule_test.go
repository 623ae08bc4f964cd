package jwks

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestRemoteRefresh(t *testing.T) {
	t.Parallel()
	keys := string(set(newEC(t).jwk("kid", "a")))
	for name, c := range map[string]struct {
		o       RemoteOptions
		headers []string
		want    time.Duration
	}{
		"max-age":              {RemoteOptions{}, []string{"Cache-Control", "public, max-age=600, must-revalidate"}, 10 * time.Minute},
		"max-age and Age":      {RemoteOptions{}, []string{"Cache-Control", "max-age=600", "Age", "300"}, 5 * time.Minute},
		"older than its age":   {RemoteOptions{}, []string{"Cache-Control", "max-age=600", "Age", "900"}, time.Minute},
		"quoted, capitals":     {RemoteOptions{}, []string{"Cache-Control", `Max-Age="600"`}, 10 * time.Minute},
		"two lines":            {RemoteOptions{}, []string{"Cache-Control", "public", "Cache-Control", "max-age=600"}, 10 * time.Minute},
		"too short":            {RemoteOptions{}, []string{"Cache-Control", "max-age=1"}, time.Minute},
		"too long":             {RemoteOptions{}, []string{"Cache-Control", "max-age=86400"}, time.Hour},
		"out of all bounds":    {RemoteOptions{}, []string{"Cache-Control", "max-age=999999999999999999999999"}, time.Hour},
		"no-store":             {RemoteOptions{}, []string{"Cache-Control", "no-store, max-age=600"}, time.Minute},
		"no-cache":             {RemoteOptions{}, []string{"Cache-Control", "max-age=600,no-cache"}, time.Minute},
		"nonsense":             {RemoteOptions{}, []string{"Cache-Control", "max-age=-5"}, time.Minute},
		"silent":               {RemoteOptions{}, nil, 5 * time.Minute},
		"before they go stale": {RemoteOptions{MaxStale: 4 * time.Minute}, nil, 2 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, p := remote(t, c.o, says(200, keys, c.headers...))
				for range 20 { // it is spread at random
					before := p.count()
					began := time.Now()
					if got := read(t, s); got != keys || p.count() != before+1 {
						t.Fatalf("%s after %d requests", got, p.count())
					}
					time.Sleep(c.want*9/10 - 1)
					if got := read(t, s); got != keys || p.count() != before+1 {
						t.Fatalf("another request after %s", time.Since(began))
					}
					time.Sleep(c.want*2/10 + 2)
				}
			})
		})
	}
}

func TestRemoteBacksOff(t *testing.T) {
	t.Parallel()
	keys := string(set(newEC(t).jwk("kid", "a")))
	for name, c := range map[string]struct {
		o       RemoteOptions
		answer  reply
		want    string
		seconds []float64
	}{
		"500":                   {RemoteOptions{}, says(500, canary), "the server answers 500", []float64{1, 2, 4, 8, 16, 32, 60, 60, 60}},
		"404":                   {RemoteOptions{}, says(404, canary), "the server answers 404; give the address of the key set", []float64{1, 2, 4}},
		"a page":                {RemoteOptions{}, says(200, "<html>"+canary), "not JSON", []float64{1, 2, 4}},
		"no keys":               {RemoteOptions{}, says(200, `{"keys":[]}`), "a key set without keys", []float64{1, 2, 4}},
		"304":                   {RemoteOptions{}, says(304, ""), "the server answers 304", []float64{1, 2, 4}},
		"Retry-After":           {RemoteOptions{}, says(503, "", "Retry-After", "300"), "the server answers 503; the agent asks it again later", []float64{300, 300}},
		"Retry-After, 429":      {RemoteOptions{}, says(429, "", "Retry-After", "300"), "the server answers 429", []float64{300, 300}},
		"Retry-After for ever":  {RemoteOptions{}, says(503, "", "Retry-After", "99999999"), "the server answers 503", []float64{300, 300}},
		"Retry-After, shorter":  {RemoteOptions{}, says(503, "", "Retry-After", "1"), "the server answers 503", []float64{1, 2, 4}},
		"Retry-After, nonsense": {RemoteOptions{}, says(503, "", "Retry-After", "soon"), "the server answers 503", []float64{1, 2, 4}},
		"Retry-After of a 500":  {RemoteOptions{}, says(500, "", "Retry-After", "300"), "the server answers 500", []float64{300, 300}},
		"hangs":                 {RemoteOptions{}, hangs, "no complete answer within 10s", []float64{11, 12, 14}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, p := remote(t, c.o, c.answer)
				ctx, cancel := context.WithTimeout(t.Context(), 4*time.Hour)
				defer cancel()
				var first string
				for p.count() <= len(c.seconds) && ctx.Err() == nil {
					got := read(t, s)
					if first == "" {
						first = got
					}
					if got != first || !strings.Contains(got, c.want) {
						t.Fatalf("%s; want the same error each time: %s", got, c.want)
					}
					time.Sleep(time.Duration(c.seconds[0] * float64(10*time.Millisecond)))
				}
				for i, want := range c.seconds {
					gap := p.times[i+1].Sub(p.times[i]).Seconds()
					if gap < 0.9*want || gap > 1.1*want+0.02*c.seconds[0] {
						t.Errorf("gap %d was %.2f s, want %g", i, gap, want)
					}
				}
				if p.most != 1 {
					t.Errorf("%d requests at once", p.most)
				}
				s.Refresh()
				p.says(says(200, keys))
				if got := read(t, s); got != keys {
					t.Errorf("%s after it was fixed, and Refresh", got)
				}
				p.says(c.answer)
				s.Refresh()
				if got := read(t, s); !strings.HasPrefix(got, "error: ") {
					t.Errorf("%s after it broke again", got)
				}
				// It starts over with short pauses.
				n := p.count()
				time.Sleep(time.Duration(c.seconds[0]*1.1*float64(time.Second)) + time.Second)
				if read(t, s); p.count() != n+1 {
					t.Errorf("no request after a first pause")
				}
			})
		})
	}
}

func TestRemoteRetryAfterAsDate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, p := remote(t, RemoteOptions{}, says(503, "", "Retry-After", time.Now().Add(4*time.Minute).UTC().Format(http.TimeFormat)))
		read(t, s)
		s.UnknownKey() // who sends tokens does not overrule the server
		time.Sleep(4*time.Minute - 1)
		read(t, s)
		if p.count() != 1 {
			t.Errorf("%d requests before the time", p.count())
		}
		time.Sleep(time.Minute + 2)
		read(t, s)
		if p.count() != 2 {
			t.Errorf("%d requests after it", p.count())
		}
	})
}

// TestRetryAfterFitsMaxStale: the keys do not go stale because a server that recovers at
// once has asked for a pause of an hour.
func TestRetryAfterFitsMaxStale(t *testing.T) {
	t.Parallel()
	for _, stale := range []time.Duration{2 * time.Minute, 10 * time.Minute, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			good := says(200, string(set(newEC(t).jwk("kid", "a"))), "Cache-Control", "max-age=60")
			asked := 0
			s, _ := remote(t, RemoteOptions{MaxStale: stale}, func(r *http.Request) replied {
				if asked++; asked == 2 {
					return says(503, "", "Retry-After", "3600")(r)
				}
				return good(r)
			})
			read(t, s)
			for range 2 * time.Hour / time.Second {
				time.Sleep(time.Second)
				if read(t, s); !s.Usable() {
					t.Fatalf("MaxStale %s: unusable after one refusal", stale)
				}
			}
			if asked < 3 {
				t.Errorf("asked %d times", asked)
			}
		})
	}
}

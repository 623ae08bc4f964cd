package plan

import (
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
)

// The names of the answer stay; what is given is what was asked for.
func TestJSON(t *testing.T) {
	var v any
	if err := json.Unmarshal([]byte(must(t, "--protocol replace --sliding --sender-restart exponential:1m --output json")), &v); err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	var walk func(at string, v any)
	walk = func(at string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for name, of := range v {
				walk(at+"."+name, of)
			}
		case []any:
			for _, of := range v {
				walk(at+"[]", of)
			}
		default:
			names[at] = true
		}
	}
	walk("", v)
	chances := " .overlap_seconds .max_overlap_seconds .stage_wait_seconds .safe .chance .chance_new_token .chance_old_token .refused_new_token .refused_old_token .refused_share"
	times := " .stage_wait_seconds .overlap_seconds .max_overlap_seconds"
	spreads := " .p50 .p95 .p99 .max"
	want := []string{".schema", ".protocol", ".safe", ".within_risk", ".bounded", ".notes[]", ".next[]"}
	for at, under := range map[string]string{
		".assumed": " .receivers .senders .newcomers .delivery .kubelet_sync_seconds .cache_ttl_seconds .poll_interval_seconds .debounce_seconds" +
			" .sender .sender_restart .restart_delay_seconds .in_flight_seconds .clock_skew_seconds .request_rate .sliding .risk",
		".limits":                                " .propagation_seconds .last_use_seconds" + times,
		".advised":                               times,
		".risks[]":                               " .risk" + times,
		".chosen":                                chances,
		".chances[]":                             chances,
		".simulation":                            " .rotations .seed",
		".simulation.needed_stage_wait_seconds":  spreads,
		".simulation.needed_overlap_seconds":     spreads,
		".simulation.propagation_seconds":        spreads,
		".simulation.last_use_seconds":           spreads,
		".simulation.propagation_seconds.bins[]": " .from_seconds .to_seconds .share",
		".simulation.last_use_seconds.bins[]":    " .from_seconds .to_seconds .share",
	} {
		for name := range strings.FieldsSeq(under) {
			want = append(want, at+name)
		}
	}
	slices.Sort(want)
	if got := slices.Sorted(maps.Keys(names)); !slices.Equal(got, want) {
		for _, name := range got {
			if !slices.Contains(want, name) {
				t.Errorf("%s is new", name)
			}
		}
		for _, name := range want {
			if !slices.Contains(got, name) {
				t.Errorf("%s is missing", name)
			}
		}
	}

	if a := inJSON(t, "--replicas 7"); a.Assumed.Receivers != 7 || a.Assumed.Senders != 7 || a.Assumed.Newcomers != 1 {
		t.Errorf("%+v", a.Assumed)
	}

	none := seconds(math.Inf(1))
	a := inJSON(t, "--sender-restart exponential:1m --overlap 3m --receivers 7 --senders 9 --seed 5 --rotations 25")
	if a.Schema != 1 || a.Safe || a.Bounded || a.Limits.Overlap != none || a.Limits.StageWait == none || a.Chosen.Overlap != 180 || len(a.Risks) != 3 || a.WithinRisk ||
		a.Assumed.Receivers != 7 || a.Assumed.Senders != 9 || a.Simulation.Seed != 5 || a.Simulation.Rotations != 25 || a.Chosen.Any <= 0 {
		t.Errorf("%+v", a)
	}
	for _, s := range []shape{a.Simulation.Propagation, a.Simulation.LastUse} {
		sum := 0.0
		for _, b := range s.Bins {
			sum += b.Share
		}
		if sum < 0.9999 || sum > 1.0001 || len(s.Bins) != bins || s.Half > s.P95 || s.P95 > s.P99 || s.P99 > s.Most {
			t.Errorf("%+v adds up to %g", s, sum)
		}
	}
	for overlap, within := range map[string]bool{"": true, " --overlap 12m": false, " --overlap 16m10s": true, " --stage-wait 1m": false} {
		if a := inJSON(t, "--sender-restart exponential:1m"+overlap); a.Safe || a.WithinRisk != within {
			t.Errorf("overlap %s: %+v", overlap, a)
		}
	}
	if a := inJSON(t, ""); !a.Safe || !a.WithinRisk || !a.Bounded || a.Risks != nil || a.Limits.MaxOverlap != none || !a.Chosen.Safe || a.Chosen.Any != 0 || a.Chances[0].Safe {
		t.Errorf("%+v", a)
	}
}

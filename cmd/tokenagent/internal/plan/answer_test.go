package plan

import (
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
)

// The answer in JSON keeps its names.
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
		".limits":                               " .propagation_seconds .last_use_seconds" + times,
		".advised":                              times,
		".chosen":                               chances,
		".chances[]":                            chances,
		".simulation":                           " .rotations .seed",
		".simulation.needed_stage_wait_seconds": spreads,
		".simulation.needed_overlap_seconds":    spreads,
		".simulation.propagation_seconds":       spreads,
		".simulation.last_use_seconds":          spreads,
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
}

// The answer has the values of the flags, and calls nothing safe that has no upper limit.
func TestAnswer(t *testing.T) {
	a := inJSON(t, "--replicas 7")
	equal(t, "replicas", map[string][2]any{
		"receivers": {a.Assumed.Receivers, 7}, "senders": {a.Assumed.Senders, 7}, "newcomers": {a.Assumed.Newcomers, 1},
	})

	none := seconds(math.Inf(1))
	a = inJSON(t, "--sender-restart exponential:1m --overlap 3m --receivers 7 --senders 9 --seed 5 --rotations 25")
	equal(t, "no limit", map[string][2]any{
		"schema": {a.Schema, 1}, "safe": {a.Safe, false}, "bounded": {a.Bounded, false}, "within risk": {a.WithinRisk, false},
		"the overlap's limit": {a.Limits.Overlap, none}, "the stage wait has none": {a.Limits.StageWait == none, false},
		"the chosen overlap": {a.Chosen.Overlap, seconds(180)}, "a chance": {a.Chosen.Any > 0, true},
		"receivers": {a.Assumed.Receivers, 7}, "senders": {a.Assumed.Senders, 9},
		"seed": {a.Simulation.Seed, uint64(5)}, "rotations": {a.Simulation.Rotations, 25},
	})
	for _, s := range []spread{a.Simulation.Propagation, a.Simulation.LastUse} {
		if !slices.IsSorted([]seconds{s.Median, s.P95, s.P99, s.Max}) {
			t.Errorf("the quantiles are not in order: %+v", s)
		}
	}
	for overlap, within := range map[string]bool{"": true, " --overlap 12m": false, " --overlap 16m10s": true, " --stage-wait 1m": false} {
		if a := inJSON(t, "--sender-restart exponential:1m"+overlap); a.Safe || a.WithinRisk != within {
			t.Errorf("overlap %s: %+v", overlap, a)
		}
	}
	a = inJSON(t, "")
	equal(t, "by default", map[string][2]any{
		"safe": {a.Safe, true}, "within risk": {a.WithinRisk, true}, "bounded": {a.Bounded, true},
		"the limit of the cap": {a.Limits.MaxOverlap, none}, "the choice is safe": {a.Chosen.Safe, true}, "the chance": {a.Chosen.Any, 0.0},
		"no overlap is safe": {a.Chances[0].Safe, false},
	})
}

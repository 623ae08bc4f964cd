package plan

import (
	"math"
	"time"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/fail"
)

func (f *flags) checkChoices() error {
	for _, c := range []struct {
		name, value string
		of          [3]string
	}{
		{"protocol", f.protocol, [3]string{string(staged), string(now), string(replace)}},
		{"detection", f.detection, [3]string{"watch", "cache", "get"}},
		{"sender", f.sender, [3]string{string(restart), string(execed), string(transport)}},
	} {
		if c.value != c.of[0] && c.value != c.of[1] && c.value != c.of[2] {
			return fail.Usage("--%s must be %s, %s or %s", c.name, c.of[0], c.of[1], c.of[2])
		}
	}
	if f.watch != "poll" && f.watch != "events" {
		return fail.Usage("--watch must be poll or events")
	}
	return nil
}

// checkCombinations refuses flags that have no meaning beside the others. A
// variable of the environment may be meant for another command, so only those on
// the command line count.
func (f *flags) checkCombinations() error {
	for _, c := range []struct {
		name  string
		fits  bool
		needs string
	}{
		{"stage-wait", f.protocol == string(staged), "--protocol staged"},
		{"sliding", f.protocol == string(replace), "--protocol replace"},
		{"max-overlap", f.sliding && f.protocol == string(replace), "--protocol replace and --sliding"},
		{"detection", f.kubeletSync != 0, "a kubelet: a --kubelet-sync above 0s"},
		{"cache-ttl", f.detection == "cache" && f.kubeletSync != 0, "--detection cache and a --kubelet-sync above 0s"},
		{"poll-interval", f.watch == "poll", "--watch poll"},
		{"restart-delay", f.sender == string(execed), "--sender exec"},
		{"sender-restart", f.sender != string(transport), "--sender restart or exec; a transport needs no restart"},
	} {
		if f.changed(c.name) && !c.fits {
			return fail.Usage("--%s goes with %s; say so, or leave it out", c.name, c.needs)
		}
	}
	f.sliding = f.sliding && f.protocol == string(replace)
	return nil
}

// spreadReplicas makes each replica a receiver and a sender.
func (f *flags) spreadReplicas() error {
	if f.changed("replicas") && (f.changed("receivers") || f.changed("senders")) {
		return fail.Usage("--replicas is both --receivers and --senders; say either it or them")
	}
	if f.replicas == 0 && !f.changed("replicas") {
		return nil
	}
	if f.replicas < 1 || f.replicas > maxCrowd {
		return fail.Usage("--replicas must be from 1 to %d", maxCrowd)
	}
	if !f.changed("receivers") && !f.changed("senders") { // else it comes from the environment
		f.receivers, f.senders = f.replicas, f.replicas
	}
	return nil
}

func (f *flags) checkNumbers() error {
	for _, c := range []struct {
		name      string
		value     int
		least, at int
	}{
		{"receivers", f.receivers, 1, maxCrowd},
		{"senders", f.senders, 1, maxCrowd},
		{"newcomers", f.newcomers, 0, maxCrowd},
		{"rotations", f.rotations, 0, 100_000},
	} {
		if c.value < c.least || c.value > c.at {
			return fail.Usage("--%s must be from %d to %d", c.name, c.least, c.at)
		}
	}
	if math.IsNaN(f.rate) || f.rate <= 0 || f.rate > 1e6 {
		return fail.Usage("--request-rate must be above 0 and at most 1000000 a second")
	}
	if math.IsNaN(f.risk) || f.risk < 1e-12 || f.risk >= 1 {
		return fail.Usage("--risk must be a chance from 1e-12 to below 1, such as 1e-6")
	}
	return nil
}

func (f *flags) checkDurations() error {
	for _, c := range []struct {
		name  string
		value time.Duration
	}{
		{"kubelet-sync", f.kubeletSync},
		{"cache-ttl", f.cacheTTL},
		{"poll-interval", f.poll},
		{"debounce", f.debounce},
		{"restart-delay", f.restartDelay},
		{"in-flight", f.inFlight},
		{"clock-skew", f.skew},
		{"stage-wait", f.stageWait},
		{"overlap", f.overlap},
		{"max-overlap", f.maxOverlap},
	} {
		if c.value < 0 || c.value > maxDuration {
			return fail.Usage("--%s must be from 0s to 720h", c.name)
		}
	}
	if f.watch == "poll" && f.poll == 0 {
		return fail.Usage("--poll-interval must be above 0s; where agents do not poll, say --watch events")
	}
	return nil
}

package headername

import "testing"

func TestNames(t *testing.T) {
	names := []string{"X-Tokenagent-Subject", "Dapr-Api-Token"}
	for name, want := range map[string]struct {
		plain         string
		any, imitates bool
	}{
		"X-Tokenagent-Subject": {"x-tokenagent-subject", true, false},
		"x-tokenagent-SUBJECT": {"x-tokenagent-subject", true, false},
		"x_tokenagent_subject": {"x-tokenagent-subject", true, true},
		"X.Tokenagent~Subject": {"x-tokenagent-subject", true, true},
		"dapr_Api-Token":       {"dapr-api-token", true, true},
		"dapr-api-token1":      {"dapr-api-token1", false, false},
		"daprxapi-token":       {"daprxapi-token", false, false},
		"dapr--api-token":      {"dapr--api-token", false, false},
		"dapr-api-to\u212aen":  {"dapr-api-to---en", false, false},
		"":                     {"", false, false},
	} {
		if got := Plain(name); got != want.plain {
			t.Errorf("%q: %q, want %q", name, got, want.plain)
		}
		if a, i := IsAny(name, names), Imitates(name, names); a != want.any || i != want.imitates {
			t.Errorf("%q: any %t, imitates %t", name, a, i)
		}
		if n := testing.AllocsPerRun(10, func() { Imitates(name, names) }); n != 0 {
			t.Errorf("%q: %v allocations", name, n)
		}
	}
}

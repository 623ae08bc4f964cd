package tokenreview

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	t.Parallel()
	audiences := []string{"other", audience}
	with := func(status string) string {
		return `{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1","status":` + status + `}`
	}
	for text, want := range map[string]bool{
		good: true,
		bad:  false,
		with(`{"authenticated":true,"audiences":["a","orders"]}`): true,
		with(`{"authenticated":false,"audiences":["orders"]}`):    false,
		with(`{"authenticated":true,"audiences":["a"]}`):          false,
		with(`{"authenticated":true,"audiences":[]}`):             false,
		with(`{"authenticated":true,"audiences":null}`):           false,
		with(`{"authenticated":true}`):                            false, // an API server that knows no audiences
		with(`{"Authenticated":true,"audiences":["orders"]}`):     false,
		with(`{"authenticated":true,"Audiences":["orders"]}`):     false,
		with(`{"authenticated":true,"audiences":["ORDERS"]}`):     false,
		with(`{}`): false,
	} {
		if got, err := parse([]byte(text), audiences); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{
		"", "null", "[]", `"x"`, "{}", good + "{}", with("null"), with("[]"), with(`"x"`),
		with(`{"authenticated":"true","audiences":["orders"]}`), with(`{"authenticated":1,"audiences":["orders"]}`),
		with(`{"authenticated":true,"audiences":"orders"}`), with(`{"authenticated":true,"audiences":[["orders"]]}`),
		with(`{"authenticated":false,"authenticated":true,"audiences":["orders"]}`),
		strings.Replace(good, `"kind"`, `"Kind"`, 1), strings.Replace(good, `"apiVersion"`, `"apiversion"`, 1), strings.Replace(good, `"status"`, `"Status"`, 1),
		with(strings.Repeat("[", 100) + strings.Repeat("]", 100)),
	} {
		if got, err := parse([]byte(text), audiences); err == nil || got {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
}

// FuzzParse compares parse with a plain decoding: an answer authenticates the token only if
// its own members say so.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{good, bad, "{}", "null", strings.ReplaceAll(good, "true", "false"), strings.ReplaceAll(good, "status", "Status")} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := parse(text, []string{audience})
		if err != nil {
			if got || strings.Contains(err.Error(), string(text)) && len(text) > 20 {
				t.Errorf("%v, %v", got, err)
			}
			return
		}
		var plain map[string]any
		if err := json.Unmarshal(text, &plain); err != nil {
			t.Fatalf("accepted, but not JSON: %v", err)
		}
		status, _ := plain["status"].(map[string]any)
		granted, _ := status["audiences"].([]any)
		want := plain["kind"] == kind && plain["apiVersion"] == apiVersion && status["authenticated"] == true && slices.Contains(granted, any(audience))
		if got != want {
			t.Errorf("%v, want %v", got, want)
		}
	})
}

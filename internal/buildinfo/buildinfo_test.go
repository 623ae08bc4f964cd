package buildinfo

import (
	"runtime/debug"
	"testing"
)

func TestVersion(t *testing.T) {
	for name, c := range map[string]struct {
		info debug.BuildInfo
		want string
	}{
		"go install":   {debug.BuildInfo{Main: debug.Module{Path: module, Version: "v1.2.3"}}, "v1.2.3"},
		"in an app":    {debug.BuildInfo{Main: debug.Module{Path: "app", Version: "v9"}, Deps: []*debug.Module{{Path: "other", Version: "v8"}, {Path: module, Version: "v1.2.3"}}}, "v1.2.3"},
		"without one":  {debug.BuildInfo{Main: debug.Module{Path: module}}, "unknown"},
		"none of ours": {debug.BuildInfo{Main: debug.Module{Path: "app", Version: "v9"}}, "unknown"},
	} {
		if got := recorded(&c.info); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	Set("")
	if got := Version(); got == "" {
		t.Error("no version")
	}
	t.Cleanup(func() { linked.Store(nil) })
	Set("v7")
	if got := Version(); got != "v7" {
		t.Errorf("%q, want what was set", got)
	}
}

package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/config"
)

// eachFlag calls f for every flag of every command, with arguments that reach the
// command.
func eachFlag(f func(args []string, flag *pflag.Flag)) {
	var visit func(c *cobra.Command, path []string)
	visit = func(c *cobra.Command, path []string) {
		if c.Runnable() && !slices.Contains([]string{"help", "completion"}, c.Name()) && c.HasParent() && c.Parent().Name() != "completion" {
			c.Flags().VisitAll(func(flag *pflag.Flag) { f(path, flag) })
		}
		for _, sub := range c.Commands() {
			visit(sub, append(slices.Clone(path), sub.Name()))
		}
	}
	visit(newRoot(), nil)
}

// TestP5_EmptyFlagIsAnError gives every flag of every command an empty value, as a script
// does with a variable that was never set.
func TestP5_EmptyFlagIsAnError(t *testing.T) {
	n := 0
	eachFlag(func(path []string, flag *pflag.Flag) {
		if slices.Contains([]string{"admin-listen", "grpc-listen", "help"}, flag.Name) {
			return
		}
		n++
		name := strings.Join(path, " ") + " --" + flag.Name
		values := []string{"", " "}
		if _, list := flag.Value.(pflag.SliceValue); list {
			values = append(values, "a,", ",a")
		}
		for _, value := range values {
			args := append(slices.Clone(path), "--"+flag.Name+"="+value)
			if path[0] == "exec" {
				args = append(args, "--", "true")
			}
			o := invoke(t, "", args...)
			if o.code != 2 || !strings.Contains(o.errOut, "--"+flag.Name+" has an empty value") {
				t.Errorf("%s=%q: exit code %d, %s", name, value, o.code, o.errOut)
			}
		}
		if slices.Contains(noVariable, flag.Name) {
			return
		}
		t.Run(name, func(t *testing.T) {
			t.Setenv(variable(flag.Name), "")
			args := slices.Clone(path)
			if path[0] == "exec" {
				args = append(args, "--", "true")
			}
			invoke(t, "", args...).want(t, 2, variable(flag.Name)+" has an empty value")
		})
	})
	if n < 100 {
		t.Errorf("only %d flags", n)
	}
}

// TestEmptyListElement checks a repeated flag and a variable with an empty element.
func TestEmptyListElement(t *testing.T) {
	path := file(t, good)
	invoke(t, "", "run", "--token-file", path, "--header", "a", "--header", "").want(t, 2, "--header has an empty value")
	t.Setenv("TOKENAGENT_HEADER", "a,,b")
	invoke(t, "", "run", "--token-file", path).want(t, 2, "TOKENAGENT_HEADER has an empty value")
	t.Setenv("TOKENAGENT_HEADER", "a,b")
	t.Setenv("TOKENAGENT_UPSTREAM", "")
	invoke(t, "", "run", "--token-file", path).want(t, 2, "TOKENAGENT_UPSTREAM")
}

// TestEmptyAddressMeansNone checks the two flags that may be empty.
func TestEmptyAddressMeansNone(t *testing.T) {
	startEmpty := func(args ...string) outcome {
		// run gets as far as the source, which does not exist.
		return invoke(t, "", append([]string{"run", "--token-file", "/nonexistent/token"}, args...)...)
	}
	startEmpty("--admin-listen", "", "--grpc-listen", "").want(t, 1, "/nonexistent/token")
	t.Setenv("TOKENAGENT_ADMIN_LISTEN", "")
	t.Setenv("TOKENAGENT_GRPC_LISTEN", "")
	startEmpty().want(t, 1, "/nonexistent/token")
	invoke(t, "", "exec", "--token-file", "/nonexistent/token", "--", "true").want(t, 1, "/nonexistent/token")
}

// TestAddressThenEmpty checks that an empty value does not take back an address that the
// command line gives before it.
func TestAddressThenEmpty(t *testing.T) {
	for _, name := range []string{"admin-listen", "grpc-listen"} {
		invoke(t, "", "run", "--"+name, "127.0.0.1:0", "--"+name, "").want(t, 2, "--"+name+" has an empty value")
	}
}

// TestP5_EmptyDaprVariableIsNotOpen checks that an empty APP_API_TOKEN or
// APP_API_TOKEN_FILE is an error, and accepts nothing.
func TestP5_EmptyDaprVariableIsNotOpen(t *testing.T) {
	none := []string{"--listen", "127.0.0.1:0", "--admin-listen", ""}
	t.Run("token", func(t *testing.T) {
		t.Setenv("APP_API_TOKEN", "")
		invoke(t, "", append([]string{"run"}, none...)...).want(t, 1, "APP_API_TOKEN")
		invoke(t, "", "check").want(t, 1, "error: ")
	})
	t.Run("file", func(t *testing.T) {
		t.Setenv("APP_API_TOKEN_FILE", "")
		invoke(t, "", append([]string{"run"}, none...)...).want(t, 2, "APP_API_TOKEN_FILE is empty")
		invoke(t, "", "exec", "--", "true").want(t, 2, "APP_API_TOKEN_FILE is empty")
	})
}

// TestP5_EmptyRealmFieldIsAnError gives every key of a realm an empty value, in each form
// that YAML has.
func TestP5_EmptyRealmFieldIsAnError(t *testing.T) {
	for _, key := range config.Fields {
		if key.FlagOnly {
			continue
		}
		forms := []string{"", `""`, "''", "null", "~", "' '", "[]"}
		if key.IsList {
			forms = append(forms, `[""]`, `[a, ""]`, "[a, null]", `"a,"`)
		}
		for _, form := range forms {
			var texts []string
			if !key.EntryOnly {
				texts = append(texts, fmt.Sprintf("realms:\n  a:\n    %s: %s\n", key.Name, form))
			}
			if key.OfIssuer {
				texts = append(texts, fmt.Sprintf("realms: {a: {issuers: [\n\n {%s: %s}]}}\n", key.Name, form))
			}
			if !key.EntryOnly && !key.PerRealm {
				texts = append(texts, fmt.Sprintf("realms:\n  a:\n    token-file: x\ndefaults:\n  %s: %s\n", key.Name, form))
			}
			for _, text := range texts {
				line := ":3: "
				if strings.Contains(text, "defaults") {
					line = ":5: "
				}
				o := invoke(t, "", "check", "--config", realmsFile(t, text, "x", good))
				if o.code != 1 || !strings.Contains(o.errOut, line) || !strings.Contains(o.errOut, key.Name+": ") {
					t.Errorf("%q: exit code %d, %s%s", text, o.code, o.out, o.errOut)
				}
			}
		}
	}
	for _, field := range []string{"default-realm", "paths", "defaults"} {
		for _, form := range []string{"", `""`} {
			text := fmt.Sprintf("realms:\n  a:\n    token-file: x\n%s: %s\n", field, form)
			invoke(t, "", "check", "--config", realmsFile(t, text, "x", good)).want(t, 1, ":4: ", field)
		}
	}
}

func TestUnknownVariables(t *testing.T) {
	path := file(t, good)
	t.Setenv("TOKENAGENT_TOKEN_FLIE", good)
	t.Setenv("TOKENAGENT_AUDIENCE", "for-another-command")
	t.Setenv("TOKENAGENT_XYZZY_PLUGH", good)
	// As Kubernetes sets them for Services called tokenagent and tokenagent-admin.
	for _, name := range []string{"SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTP", "PORT", "PORT_80_TCP", "PORT_80_TCP_PROTO", "PORT_80_TCP_PORT", "PORT_80_TCP_ADDR"} {
		t.Setenv("TOKENAGENT_"+name, "x")
		t.Setenv("TOKENAGENT_ADMIN_"+name, "x")
	}
	o := invoke(t, good, "verify", "--token-file", path)
	if o.want(t, 0); o.errOut != "tokenagent: warning: the environment variable TOKENAGENT_TOKEN_FLIE sets no flag; did you mean TOKENAGENT_TOKEN_FILE?\n"+
		"tokenagent: warning: the environment variable TOKENAGENT_XYZZY_PLUGH sets no flag; unset it\n" {
		t.Errorf("%s", o.errOut)
	}
}

func TestHelpRefusesUnknownCommands(t *testing.T) {
	invoke(t, "", "help").want(t, 0, "Usage:")
	invoke(t, "", "help", "rotate", "stage").want(t, 0, "rotate stage [PATH]")
	for _, args := range [][]string{{"help", "rnu"}, {"rnu", "--help"}} {
		invoke(t, "", args...).want(t, 2, "there is no command of that name; did you mean run?")
	}
	for _, args := range [][]string{{"help", "rotate", "stgae"}, {"rotate", "stgae", "--help"}} {
		invoke(t, "", args...).want(t, 2, "did you mean stage?")
	}
	invoke(t, "", "help", good).want(t, 2, "there is no command of that name")
}

func TestFlagSuggestions(t *testing.T) {
	for flag, want := range map[string]string{
		"--token-flie": "unknown flag: --token-flie; did you mean --token-file?",
		"--tokenFile":  "did you mean --token-file?",
		"--token_file": "did you mean --token-file?",
		"--state":      "did you mean --state-file?",
		"--elsewhere":  "unknown flag: --elsewhere\n",
		"--" + good:    "there is no flag of that name",
	} {
		invoke(t, "", "run", flag).want(t, 2, want)
	}
}

func TestVersionFlag(t *testing.T) {
	invoke(t, "", "--version").want(t, 0, "tokenagent v0-test (go")
	code := Main(t.Context(), "", []string{"--version"}, strings.NewReader(""), io.Discard, io.Discard)
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
}

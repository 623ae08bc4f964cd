package cli

import (
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/config"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/realm"
	"github.com/tokenagent/tokenagent/pkg/reload"
)

// realmParser returns the parser of the file of realms at path.
func realmParser(path string, log *slog.Logger) func(reload.Content) (*realm.Plan, error) {
	return func(c reload.Content) (*realm.Plan, error) { return config.ParseFile(path, c.Data, log) }
}

// realmsAlone refuses flags that must be in the file of --config instead.
func realmsAlone(cmd *cobra.Command) error {
	changed := cmd.Flags().Changed
	for _, name := range []string{"name", "key-name"} {
		if changed(name) {
			return exitcode.Usage("--%s does not go with --config: a realm's sources are called as the realm is", name)
		}
	}
	for _, name := range config.RealmKeys() {
		// These two also say how the file itself is read.
		if name != "poll-interval" && name != "debounce" && changed(name) {
			return exitcode.Usage("--%s does not go with --config: write it into the file as %s, in a realm or for all of them in defaults", name, name)
		}
	}
	return nil
}

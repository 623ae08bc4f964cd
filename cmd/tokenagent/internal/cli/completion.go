package cli

import (
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/choice"
)

// addCompletions tells shells how to complete the flags of cmd and of its commands: a word
// of a choice by the words, a path by the files, and any other value not at all.
func addCompletions(cmd *cobra.Command) {
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		placeholder, _ := pflag.UnquoteUsage(f)
		complete := cobra.NoFileCompletions
		switch words := choice.Words(f.Value); {
		case words != nil:
			complete = cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)
		case slices.Contains([]string{"PATH", "FILE"}, placeholder):
			return // a shell completes files by itself
		}
		if _, ok := cmd.GetFlagCompletionFunc(f.Name); !ok {
			_ = cmd.RegisterFlagCompletionFunc(f.Name, complete) // fails only for a second function
		}
	})
	if !cmd.HasSubCommands() && cmd.ValidArgsFunction == nil && !takesArguments(cmd) {
		cmd.ValidArgsFunction = cobra.NoFileCompletions
	}
	for _, c := range cmd.Commands() {
		addCompletions(c)
	}
}

// takesArguments reports whether the usage line of cmd shows anything after its name.
func takesArguments(cmd *cobra.Command) bool { return cmd.Use != cmd.Name() }

package cli

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/config"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/listener"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/server"
)

// listenFlags set the options of the daemon.
type listenFlags struct {
	server.Options

	socketMode, socketOwner string
}

func addTLSFlags(f *pflag.FlagSet, prefix string, files *listener.Files, of string) {
	f.StringVar(&files.Cert, prefix+"tls-cert-file", "", "`FILE` of the PEM certificate for "+of+"; enables TLS")
	f.StringVar(&files.Key, prefix+"tls-key-file", "", "`FILE` of the PEM private key of that certificate")
	f.StringVar(&files.ClientCA, prefix+"tls-client-ca-file", "", "`FILE` of PEM CA certificates; clients must present a certificate signed by one of them")
	config.SetTopic(f, "TLS and Unix sockets")
}

// addAccessFlags adds the flags that say who may connect to the admin port and to
// sockets.
func (l *listenFlags) addAccessFlags(f *pflag.FlagSet) {
	addTLSFlags(f, "admin-", &l.AdminTLS, "--admin-listen")
	f.StringVar(&l.socketMode, "socket-mode", "", "`MODE` of Unix sockets, in octal such as 0660 (default: the umask decides)")
	f.StringVar(&l.socketOwner, "socket-owner", "", "`USER[:GROUP]` that owns the Unix sockets, by name or number (default: those of the process)")
	config.SetTopic(f, "TLS and Unix sockets")
}

// check validates the addresses, TLS and the flags of sockets, and sets Socket.
func (l *listenFlags) check(cmd *cobra.Command) (err error) {
	overTCP, anySocket := make(map[string]bool), false
	for _, at := range []struct{ flag, addr string }{{"listen", l.Listen}, {"grpc-listen", l.GRPCListen}, {"admin-listen", l.AdminListen}} {
		if at.addr == "" {
			continue
		}
		if err := listener.Check(at.addr); err != nil {
			return exitcode.Usage("--%s: %w", at.flag, err)
		}
		_, isSocket := listener.Path(at.addr)
		overTCP[at.flag], anySocket = !isSocket, anySocket || isSocket
	}
	for _, c := range []struct {
		files         listener.Files
		prefix, flags string
		hasTCP        bool
	}{
		{l.TLS, "", "a --listen or --grpc-listen", overTCP["listen"] || overTCP["grpc-listen"]},
		{l.AdminTLS, "admin-", "an --admin-listen", overTCP["admin-listen"]},
	} {
		if err := c.files.Validate(c.prefix); err != nil {
			return exitcode.Usage("%w", err)
		}
		if c.files.Given() && !c.hasTCP {
			return exitcode.Usage("--%stls-cert-file goes with %s of the form host:port; for a Unix socket, use --socket-mode and --socket-owner", c.prefix, c.flags)
		}
	}
	for _, name := range []string{"socket-mode", "socket-owner"} {
		if !anySocket && cmd.Flags().Changed(name) { // a variable may be meant for another command
			return exitcode.Usage("--%s goes with an address of the form unix:///path", name)
		}
	}
	if l.socketMode != "" {
		if l.Socket.Mode, err = listener.ParseMode(l.socketMode); err != nil {
			return exitcode.Usage("--socket-mode %w", err)
		}
	}
	if l.socketOwner != "" {
		if l.Socket.Owner, err = listener.ParseOwner(l.socketOwner); err != nil {
			return exitcode.Usage("--socket-owner %w", err)
		}
	}
	return nil
}

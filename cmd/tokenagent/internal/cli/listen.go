package cli

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/config"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/daemon"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/listener"
)

// listenFlags set the options of the daemon, among them who may connect to its
// listeners.
type listenFlags struct {
	daemon.Options

	socketMode, socketOwner string
}

func addTLSFlags(f *pflag.FlagSet, prefix string, files *listener.Files, of string) {
	f.StringVar(&files.Cert, prefix+"tls-cert-file", "", "`FILE` of the PEM certificate for "+of+"; enables TLS")
	f.StringVar(&files.Key, prefix+"tls-key-file", "", "`FILE` of the PEM private key of that certificate")
	f.StringVar(&files.ClientCA, prefix+"tls-client-ca-file", "", "`FILE` of PEM CA certificates; clients must present a certificate signed by one of them")
	config.SetTopic(f, "TLS and Unix sockets")
}

// addAdminAccess adds the flags of who may connect to the admin port and to sockets.
func (l *listenFlags) addAdminAccess(f *pflag.FlagSet) {
	addTLSFlags(f, "admin-", &l.AdminTLS, "--admin-listen")
	f.StringVar(&l.socketMode, "socket-mode", "", "`MODE` of Unix sockets, in octal such as 0660; without it the umask decides")
	f.StringVar(&l.socketOwner, "socket-owner", "", "`USER[:GROUP]` that owns the Unix sockets, by name or number (default: those of the process)")
	config.SetTopic(f, "TLS and Unix sockets")
}

// check validates the addresses and who may connect to them, and sets Socket.
func (l *listenFlags) check(cmd *cobra.Command) (err error) {
	if err := l.TLS.Validate(""); err != nil {
		return exitcode.Usage("%w", err)
	}
	if err := l.AdminTLS.Validate("admin-"); err != nil {
		return exitcode.Usage("%w", err)
	}
	const noTLS = "; a Unix socket speaks none, and --socket-mode and --socket-owner say who may connect to it"
	if l.TLS.Given() && !overTCP(l.Listen) && !overTCP(l.GRPCListen) {
		return exitcode.Usage("--tls-cert-file goes with a --listen or --grpc-listen of the form host:port" + noTLS)
	}
	if l.AdminTLS.Given() && !overTCP(l.AdminListen) {
		return exitcode.Usage("--admin-tls-cert-file goes with an --admin-listen of the form host:port" + noTLS)
	}
	anySocket := false
	for _, at := range []struct{ flag, addr string }{{"listen", l.Listen}, {"grpc-listen", l.GRPCListen}, {"admin-listen", l.AdminListen}} {
		if at.addr == "" {
			continue
		}
		if err := listener.Check(at.addr); err != nil {
			return exitcode.Usage("--%s: %w", at.flag, err)
		}
		anySocket = anySocket || !overTCP(at.addr)
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

// overTCP reports whether addr is given and is not a Unix socket.
func overTCP(addr string) bool {
	_, isSocket := listener.Path(addr)
	return addr != "" && !isSocket
}

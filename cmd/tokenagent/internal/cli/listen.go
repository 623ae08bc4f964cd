package cli

import (
	"github.com/spf13/cobra"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/daemon"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/listener"
)

// listenFlags say who may connect to the listeners, and how.
type listenFlags struct {
	mode, owner string
	main, admin listener.Files
}

// addAdmin adds the flags that a command with an admin port alone has.
func (l *listenFlags) addAdmin(cmd *cobra.Command) {
	f := cmd.Flags()
	addFiles(cmd, "admin-", &l.admin, "--admin-listen")
	f.StringVar(&l.mode, "socket-mode", "", "`MODE` of Unix sockets, in octal such as 0660; without it the umask decides")
	f.StringVar(&l.owner, "socket-owner", "", "`USER[:GROUP]` that owns the Unix sockets, by name or number (default: those of the process)")
}

func (l *listenFlags) add(cmd *cobra.Command) {
	addFiles(cmd, "", &l.main, "--listen and --grpc-listen")
	l.addAdmin(cmd)
}

func addFiles(cmd *cobra.Command, prefix string, files *listener.Files, of string) {
	f := cmd.Flags()
	f.StringVar(&files.Cert, prefix+"tls-cert-file", "", "PEM certificate `FILE` for "+of+"; enables TLS")
	f.StringVar(&files.Key, prefix+"tls-key-file", "", "PEM private key `FILE` of that certificate")
	f.StringVar(&files.ClientCA, prefix+"tls-client-ca-file", "", "PEM `FILE` of CA certificates; clients must present a certificate signed by one of them")
}

// config puts the flags into o, which has its addresses.
func (l *listenFlags) config(cmd *cobra.Command, o *daemon.Options) (err error) {
	for _, one := range []struct {
		prefix string
		files  listener.Files
	}{{"", l.main}, {"admin-", l.admin}} {
		if err := one.files.Validate(one.prefix); err != nil {
			return exitcode.Usage("%w", err)
		}
	}
	const noTLS = "; a Unix socket speaks none, and --socket-mode and --socket-owner say who may connect to it"
	if l.main.Given() && !overTCP(o.Listen) && !overTCP(o.GRPCListen) {
		return exitcode.Usage("--tls-cert-file goes with a --listen or --grpc-listen of the form host:port" + noTLS)
	}
	if l.admin.Given() && !overTCP(o.AdminListen) {
		return exitcode.Usage("--admin-tls-cert-file goes with an --admin-listen of the form host:port" + noTLS)
	}
	sockets := 0
	for _, at := range []struct{ flag, addr string }{{"listen", o.Listen}, {"grpc-listen", o.GRPCListen}, {"admin-listen", o.AdminListen}} {
		if at.addr == "" {
			continue
		}
		if err := listener.Check(at.addr); err != nil {
			return exitcode.Usage("--%s: %w", at.flag, err)
		}
		if _, ok := listener.Path(at.addr); ok {
			sockets++
		}
	}
	// From the environment they may be meant for another command.
	for _, name := range []string{"socket-mode", "socket-owner"} {
		if sockets == 0 && cmd.Flags().Changed(name) {
			return exitcode.Usage("--%s goes with an address of the form unix:///path", name)
		}
	}
	if l.mode != "" {
		if o.Socket.Mode, err = listener.ParseMode(l.mode); err != nil {
			return exitcode.Usage("--socket-mode %w", err)
		}
	}
	if l.owner != "" {
		if o.Socket.Owner, err = listener.ParseOwner(l.owner); err != nil {
			return exitcode.Usage("--socket-owner %w", err)
		}
	}
	o.TLS, o.AdminTLS = l.main, l.admin
	return nil
}

// overTCP reports whether addr is given, and no Unix socket.
func overTCP(addr string) bool {
	_, local := listener.Path(addr)
	return addr != "" && !local
}

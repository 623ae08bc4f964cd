package cli

import (
	"os"
	"path/filepath"
	"testing"
)

func TestListenUsage(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte(good), 0o600); err != nil {
		t.Fatal(err)
	}
	run := []string{"run", "--token-file", token, "--admin-listen", ""}
	exec := []string{"exec", "--token-file", token, "--admin-listen", "127.0.0.1:0"}
	for _, c := range []struct {
		base, more []string
		says       string
	}{
		{run, []string{"--tls-cert-file", "c"}, "--tls-cert-file and --tls-key-file go together"},
		{run, []string{"--tls-key-file", "k"}, "--tls-cert-file and --tls-key-file go together"},
		{run, []string{"--tls-client-ca-file", "a"}, "--tls-client-ca-file goes with both"},
		{run, []string{"--admin-tls-cert-file", "c", "--admin-tls-key-file", "k"}, "goes with an --admin-listen"},
		{run, []string{"--listen", "unix:///s", "--tls-cert-file", "c", "--tls-key-file", "k"}, "goes with a --listen or --grpc-listen of the form host:port; for a Unix socket, use --socket-mode"},
		{run, []string{"--listen", "unix:///s", "--grpc-listen", "unix:///g", "--tls-cert-file", "c", "--tls-key-file", "k"}, "goes with a --listen or --grpc-listen"},
		{run, []string{"--admin-listen", "unix:///a", "--admin-tls-cert-file", "c", "--admin-tls-key-file", "k"}, "goes with an --admin-listen of the form host:port"},
		{exec, []string{"--admin-listen", "unix:///a", "--admin-tls-cert-file", "c", "--admin-tls-key-file", "k", "--", "true"}, "goes with an --admin-listen of"},
		{run, []string{"--listen", "8080"}, "--listen: missing port in address; give it as host:port"},
		{run, []string{"--grpc-listen", "[::1:80"}, "--grpc-listen: missing ']' in address; give it as host:port"},
		{run, []string{"--admin-listen", "127.0.0.1:65536"}, "--admin-listen: there is no port 65536; give it as host:port"},
		{run, []string{"--listen", "unix://"}, "--listen: unix:// has no path"},
		{run, []string{"--socket-mode", "0660"}, "--socket-mode goes with an address of the form unix:///path"},
		{run, []string{"--socket-owner", "0"}, "--socket-owner goes with an address"},
		{run, []string{"--listen", "unix:///s", "--socket-mode", bad}, "--socket-mode must be permissions in octal"},
		{run, []string{"--listen", "unix:///s", "--socket-owner", bad}, "--socket-owner names a user"},
		{exec, []string{"--admin-tls-cert-file", "c", "--", "true"}, "--admin-tls-cert-file and --admin-tls-key-file go together"},
		{exec, []string{"--socket-mode", "0660", "--", "true"}, "--socket-mode goes with an address"},
		{exec, []string{"--tls-cert-file", "c", "--", "true"}, "unknown flag: --tls-cert-file"},
	} {
		invoke(t, "", append(append([]string(nil), c.base...), c.more...)...).want(t, 2, c.says)
	}
	// A missing file is not a usage error.
	missing := filepath.Join(t.TempDir(), "tls.crt")
	invoke(t, "", append(append([]string(nil), run...), "--tls-cert-file", missing, "--tls-key-file", missing)...).want(t, 1, missing)
}

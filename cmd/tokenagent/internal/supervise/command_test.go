//go:build unix

package supervise_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// command is the program that exec runs in these tests. It prints the signals that it
// gets, and fingerprints instead of tokens.
func command(mode string, args []string, out io.Writer) int {
	time.AfterFunc(2*time.Minute, func() { os.Exit(101) }) // what a failed test has left behind
	signals := make(chan os.Signal, 64)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2,
		syscall.SIGWINCH, syscall.SIGALRM, syscall.SIGCONT)
	switch mode {
	case "exit":
		code, _ := strconv.Atoi(args[0])
		return code
	case "die":
		signal.Reset()
		n, _ := strconv.Atoi(args[0])
		_ = syscall.Kill(os.Getpid(), syscall.Signal(n))
		select {}
	case "environ":
		environ := os.Environ()
		slices.Sort(environ)
		for _, e := range environ {
			name, value, _ := strings.Cut(e, "=")
			fmt.Fprintln(out, "environ", name, fingerprint(value))
		}
		return 0
	case "port":
		l, err := net.Listen("tcp", args[0])
		if err != nil {
			fmt.Fprintln(out, "the port is taken")
			return 9
		}
		defer l.Close()
	case "parent": // of one in its group that does not heed signals
		child := exec.Command(os.Args[0], "cmd", "deaf")
		child.Stdout = os.Stdout
		if err := child.Start(); err != nil {
			return 9
		}
		fmt.Fprintln(out, "child", child.Process.Pid)
	case "orphans": // of which exec becomes the parent
		middle := exec.Command(os.Args[0], "cmd", "middle")
		middle.Stdout = os.Stdout
		if err := middle.Run(); err != nil {
			return 9
		}
	case "middle":
		for range 3 {
			orphan := exec.Command(os.Args[0], "cmd", "deaf")
			orphan.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			if err := orphan.Start(); err != nil {
				return 9
			}
			fmt.Fprintln(out, "orphan", orphan.Process.Pid)
		}
		return 0
	}
	fmt.Fprintln(out, "started with", fingerprint(os.Getenv("THE_TOKEN")))
	for sig := range signals {
		fmt.Fprintln(out, "got", sig)
		switch {
		case mode == "deaf":
		case mode == "slow" && sig == syscall.SIGTERM: // ends by the next one
		case mode == "port" && sig == syscall.SIGTERM:
			<-time.After(50 * time.Millisecond) // holds it for as long as it may
			return 0
		case sig == syscall.SIGTERM, sig == syscall.SIGINT:
			return 5
		case mode == "slow" && sig == syscall.SIGUSR1:
			return 6
		}
	}
	return 0
}

// Pause holds a pod's namespaces open: it does nothing, reaps the orphans that a shared process
// namespace leaves to process 1, and goes when it is told to.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

var version = "unknown"

// reap collects every child that has ended, so that none stays a zombie.
func reap() {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		if err == syscall.EINTR {
			continue
		}
		if pid <= 0 || err != nil {
			return
		}
	}
}

func main() {
	for _, arg := range os.Args[1:] {
		if arg == "-v" || arg == "--version" {
			fmt.Println("pause " + version)
			return
		}
	}
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "pause: warning: not the first process, orphans will not be reaped here")
	}
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGCHLD)
	reap()
	for received := range signals {
		if received == syscall.SIGCHLD {
			reap()
			continue
		}
		// A signal that ends a process gives 128 plus its number, as a shell would say.
		if received == syscall.SIGTERM {
			os.Exit(0)
		}
		os.Exit(130)
	}
}

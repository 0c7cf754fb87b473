// Bench measures Sekisho beside the Postfix installed on this machine, in one
// run, on the same disk and with the same main.cf and master.cf:
//
//	accept   accept and sync 10 KiB messages, one a connection, and deliver
//	         them to Maildirs
//	sink     the same, thrown away instead of delivered
//	sink10   the same, ten a connection
//	refuse   refuse relay attempts, unknown users, clients in a block list
//	idle     memory of connections that wait, without and with TLS
//	auth     log in by AUTH PLAIN, by each way to check a password
//	slow     log in all at once where a password takes 200 ms to check
//	disk     the disk's own rate of syncing such files, which bounds accept
//
// The figures come as a table with ratios, or as JSON with -json. Postfix needs
// root; without it, or without Postfix, only Sekisho is measured. MariaDB, Dovecot
// and saslauthd are needed for the ways that lead to them. Every process started
// is ended again, also after a failure or ctrl-C. The method and what the figures
// mean is in docs/performance.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// measures are what -what can name.
var measures = []string{"disk", "accept", "sink", "sink10", "refuse", "idle", "auth", "slow"}

// plan is what to measure, how often and how much of it.
type plan struct {
	what     map[string]bool // of measures
	subjects []string        // sekisho, postfix
	sessions []int
	messages int   // of an accept measurement with 10 sessions or more
	attempts int   // of a refuse measurement, of each kind
	idle     []int // connections
	logins   int   // of an auth measurement, by each way
	slow     int   // logins at once
	rounds   int
	keep     bool
}

func main() {
	dir := flag.String("dir", "", "`directory` on the disk to measure, for queues and mailboxes (default: the temporary directory)")
	asJSON := flag.Bool("json", false, "print JSON instead of a table")
	binary := flag.String("sekisho", "", "a sekisho `binary` built before (default: build one)")
	what := flag.String("what", strings.Join(measures, ","), "what to measure")
	subjects := flag.String("servers", "postfix,sekisho", "what to measure it on")
	sessions := flag.String("sessions", "1,10,50", "numbers of sessions at once for accept and disk")
	var p plan
	flag.IntVar(&p.messages, "messages", 3000, "messages of an accept measurement (a third with less than 10 sessions)")
	flag.IntVar(&p.attempts, "attempts", 3000, "sessions of a refuse measurement, of each kind")
	idle := flag.String("idle", "1000,10000", "numbers of idle connections")
	flag.IntVar(&p.logins, "logins", 3000, "logins of an auth measurement, by each way")
	flag.IntVar(&p.slow, "slow", 1000, "logins at once against a slow backend")
	flag.IntVar(&p.rounds, "rounds", 3, "how often each is measured; the median counts")
	flag.BoolVar(&p.keep, "keep", false, "leave configuration, logs and mail behind")
	flag.Parse()
	if err := p.parse(*what, *subjects, *sessions, *idle); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
	if err := run(p, *dir, *binary, *asJSON); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// parse fills in the lists of the command line.
func (p *plan) parse(what, subjects, sessions, idle string) (err error) {
	p.what = map[string]bool{}
	for _, w := range strings.Split(what, ",") {
		if !slices.Contains(measures, w) {
			return fmt.Errorf("-what: %q is none of %s", w, strings.Join(measures, ", "))
		}
		p.what[w] = true
	}
	p.subjects = strings.Split(subjects, ",")
	if p.sessions, err = numbers("-sessions", sessions); err != nil {
		return err
	}
	p.idle, err = numbers("-idle", idle)
	return err
}

// numbers reads the list of an option.
func numbers(option, list string) (out []int, err error) {
	for _, s := range strings.Split(list, ",") {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("%s: %q is not a number above 0", option, s)
		}
		out = append(out, n)
	}
	return out, nil
}

// run measures and prints. Everything it starts has ended when it returns.
func run(p plan, parent, binary string, asJSON bool) (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir, err := os.MkdirTemp(parent, "sekisho-bench-")
	if err != nil {
		return err
	}
	if p.keep {
		fmt.Fprintln(os.Stderr, "bench: everything stays in", dir)
	} else {
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	// The servers' unprivileged processes have to get through.
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	subjects, err := prepare(ctx, p.subjects, dir, binary)
	if err != nil {
		return err
	}
	ways, stopWays, err := openWays(ctx, p, dir, subjects)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stopWays()) }()
	var res results
	for round := range p.rounds {
		fmt.Fprintf(os.Stderr, "bench: round %d of %d\n", round+1, p.rounds)
		if err := measureAll(ctx, p, dir, subjects, ways, &res); err != nil {
			return err
		}
	}
	if asJSON {
		return res.writeJSON(os.Stdout)
	}
	return res.writeTable(os.Stdout)
}

// prepare lays out a site for every server named that can run here.
func prepare(ctx context.Context, names []string, dir, binary string) ([]subject, error) {
	var subjects []subject
	for _, name := range names {
		switch name {
		case "postfix":
			if why := noPostfix(); why != "" {
				fmt.Fprintln(os.Stderr, "bench: Postfix is left out:", why)
				continue
			}
			s, err := newPostfix(dir)
			if err != nil {
				return nil, err
			}
			subjects = append(subjects, s)
		case "sekisho":
			s, err := newSekisho(ctx, dir, binary)
			if err != nil {
				return nil, err
			}
			subjects = append(subjects, s)
		default:
			return nil, fmt.Errorf("-servers: %q is neither sekisho nor postfix", name)
		}
	}
	return subjects, nil
}

// noPostfix says why Postfix cannot be measured here, "" when it can.
func noPostfix() string {
	if _, err := exec.LookPath("postfix"); err != nil {
		return "it is not installed (Debian: apt-get install postfix)"
	}
	if os.Geteuid() != 0 {
		return "it can only be started by root"
	}
	return ""
}

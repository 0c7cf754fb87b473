// Bench measures Sekisho beside the Postfix installed on this machine, in one
// run, on the same disk and with the same main.cf and master.cf:
//
//	disk      the disk's own rate of syncing messages, which bounds accepting
//	accept    accept and sync 10 KiB messages, and deliver them to Maildirs
//	sink      the same, relayed to a next hop that takes everything
//	discard   the same, thrown away instead of delivered
//	accept10, sink10, discard10: ten messages a connection instead of one
//	refuse    refuse relay attempts, clients on a block list, unknown users
//	idle      memory of connections that wait
//	queued    a next hop that is away and comes back: memory with a long queue,
//	          time to empty it; in the first round only
//	auth      log in by AUTH PLAIN, by each way to check a password
//	slow      log in all at once where a password takes 200 ms to check
//
// The figures come as a table with ratios and goals, or as JSON with -json.
// Postfix needs root; without it, or without Postfix, only Sekisho is measured.
// For root all runs in network and mount namespaces of its own. MariaDB, Dovecot
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
var measures = append(append([]string{"disk"}, accepting...), "refuse", "idle", "queued", "auth", "slow")

// usual is what is measured if nothing is named.
var usual = []string{"disk", "accept", "accept10", "sink", "sink10", "refuse", "idle", "queued", "auth", "slow"}

// plan is what to measure, how often and how much of it.
type plan struct {
	what     map[string]bool // of measures
	subjects []string        // sekisho, postfix
	sessions []int
	messages int   // of an accept measurement with 10 sessions or more
	attempts int   // of a refuse measurement, for each reason
	idle     []int // connections
	queued   int   // messages in a long queue
	logins   int   // of an auth measurement, by each way
	slow     int   // logins at once
	rounds   int
	keep     bool
}

func main() {
	if os.Geteuid() == 0 && !inside() {
		status, err := enter()
		if err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
		os.Exit(status)
	}
	dir := flag.String("dir", "", "`directory` on the disk to measure, for queues and mailboxes (default: the temporary directory)")
	asJSON := flag.Bool("json", false, "print JSON instead of a table")
	binary := flag.String("sekisho", "", "a sekisho `binary` built before (default: build one)")
	p := flags(flag.CommandLine)
	flag.Parse()
	if err := p.check(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
	if err := run(*p, *dir, *binary, *asJSON); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// flags are those of a plan.
func flags(f *flag.FlagSet) *plan {
	p := &plan{what: map[string]bool{}, sessions: []int{1, 10, 50, 200}, idle: []int{1000, 10000}, subjects: []string{"postfix", "sekisho"}}
	for _, w := range usual {
		p.what[w] = true
	}
	f.Func("what", "what to measure, of "+strings.Join(measures, ",")+" (default "+strings.Join(usual, ",")+")", p.setWhat)
	f.Func("servers", "what to measure it on (default postfix,sekisho)", func(s string) error {
		p.subjects = strings.Split(s, ",")
		return nil
	})
	f.Func("sessions", "numbers of sessions at once for disk, accept and sink (default 1,10,50,200)", numbers(&p.sessions))
	f.Func("idle", "numbers of idle connections (default 1000,10000)", numbers(&p.idle))
	f.IntVar(&p.messages, "messages", 5000, "messages of an accept measurement (a third with less than 10 sessions)")
	f.IntVar(&p.attempts, "attempts", 5000, "sessions of a refuse measurement")
	f.IntVar(&p.queued, "queued", 100000, "messages in a long queue")
	f.IntVar(&p.logins, "logins", 3000, "logins of an auth measurement, by each way")
	f.IntVar(&p.slow, "slow", 1000, "logins at once against a slow backend")
	f.IntVar(&p.rounds, "rounds", 3, "how often each is measured; the median counts")
	f.BoolVar(&p.keep, "keep", false, "leave configuration, logs and mail behind")
	return p
}

// setWhat plans the measures of a list.
func (p *plan) setWhat(list string) error {
	p.what = map[string]bool{}
	for _, w := range strings.Split(list, ",") {
		if !slices.Contains(measures, w) {
			return fmt.Errorf("%q is none of %s", w, strings.Join(measures, ", "))
		}
		p.what[w] = true
	}
	return nil
}

// check refuses plans that measure nothing.
func (p *plan) check() error {
	for name, n := range map[string]int{"messages": p.messages, "attempts": p.attempts, "queued": p.queued, "logins": p.logins, "slow": p.slow, "rounds": p.rounds} {
		if n < 1 {
			return fmt.Errorf("-%s: %d is not a number above 0", name, n)
		}
	}
	return nil
}

// numbers returns a function that reads a list of numbers above 0.
func numbers(to *[]int) func(list string) error {
	return func(list string) error {
		*to = nil
		for _, s := range strings.Split(list, ",") {
			n, err := strconv.Atoi(s)
			if err != nil || n < 1 {
				return fmt.Errorf("%q is not a number above 0", s)
			}
			*to = append(*to, n)
		}
		return nil
	}
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
	if inside() {
		leave, err := furnish(dir)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, leave()) }()
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
	k, err := openSink()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, k.close()) }()
	var res results
	for round := range p.rounds {
		fmt.Fprintf(os.Stderr, "bench: round %d of %d\n", round+1, p.rounds)
		if err := measureAll(ctx, p, dir, subjects, ways, k, round == 0, &res); err != nil {
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

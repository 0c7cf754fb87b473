package queue

import (
	"bufio"
	"bytes"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"

	"sekisho/internal/clock"
	"sekisho/internal/lossyfs"
)

// lossesEnv is how often power is lost, default 10.
const lossesEnv = "SEKISHO_POWER_LOSSES"

// lookChild prints what is in the spool and takes it out.
func lookChild(dir string) {
	q, err := open(dir, Options{Clock: clock.System{}, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))}, smallLog)
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	for i := range q.All() {
		id := i.Message.Envelope().QueueID
		text, err := readAll(i.Message)
		if err != nil {
			fmt.Println("damaged", id, err)
		} else {
			fmt.Println("found", id, crc32.ChecksumIEEE(text), i.Message.Progress()[0].Done())
		}
		if err := q.Delete(id); err != nil {
			fmt.Println("error", err)
		}
	}
	if err := q.Close(); err != nil {
		fmt.Println("error", err)
	}
}

func readAll(m *Message) ([]byte, error) {
	r, err := m.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// outcome is what was left after power was lost.
type outcome struct {
	acked, found, lost, changed int
	again                       int // messages that had been removed, or recipients that were done
}

func (o *outcome) add(other outcome) {
	o.acked += other.acked
	o.found += other.found
	o.lost += other.lost
	o.changed += other.changed
	o.again += other.again
}

// losePower runs the child on a disk until it is killed and power is lost, and
// looks at what is left.
func losePower(t *testing.T, d *lossyfs.Disk, r *rand.Rand, role string) (outcome, lossyfs.Lost) {
	t.Helper()
	dir := t.TempDir()
	unmount := mount(t, d, dir)
	s := killChild(t, dir+"/spool", role)
	unmount()
	lost := d.Lose(r)
	unmount = mount(t, d, dir)
	defer unmount()
	return s.look(t, dir+"/spool"), lost
}

func mount(t *testing.T, d *lossyfs.Disk, dir string) (unmount func()) {
	t.Helper()
	un, err := d.Mount(dir)
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	return func() {
		t.Helper()
		if err := un(); err != nil {
			t.Fatal(err)
		}
	}
}

// look has another process read the spool, and compares with what was said.
func (r said) look(t *testing.T, dir string) (o outcome) {
	t.Helper()
	cmd := child(t, dir, "look")
	var log bytes.Buffer
	cmd.Stderr = &log
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("the spool cannot be opened: %v\n%s%s", err, out, log.Bytes())
	}
	o.acked = len(r.ok)
	found := map[string]bool{}
	for in := bufio.NewScanner(bytes.NewReader(out)); in.Scan(); {
		words := strings.Fields(in.Text())
		switch words[0] {
		case "found":
			o.found++
			found[words[1]] = true
			if sum, acked := r.ok[words[1]]; acked && strconv.FormatUint(sum, 10) != words[2] {
				o.changed++
				t.Logf("%s has changed", words[1])
			}
			if r.gone[words[1]] || r.sent[words[1]] && words[3] != "true" {
				o.again++
			}
		case "damaged": // and would not have been delivered
			t.Log(in.Text())
		default:
			t.Error(in.Text())
		}
	}
	for id := range r.ok {
		if !found[id] && !r.gone[id] {
			o.lost++
			t.Logf("%s was acknowledged and is lost", id)
		}
	}
	if o.lost+o.changed > 0 || testing.Verbose() {
		t.Log(log.String())
	}
	return o
}

// When the machine loses power at any moment, every message that was
// acknowledged is there afterwards, whole. It may be there again though it was
// delivered.
func TestPowerLoss(t *testing.T) {
	losses := times(t, lossesEnv, 10)
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	d := lossyfs.NewDisk()
	var sum outcome
	var lost lossyfs.Lost
	for range losses {
		o, l := losePower(t, d, r, "")
		sum.add(o)
		lost.Sectors += l.Sectors
		lost.Torn += l.Torn
		lost.Names += l.Names
		lost.Kept += l.Kept
	}
	t.Logf("%d losses: %d messages acknowledged, %d lost, %d changed, %d of %d found were done already; unsynced: %d sectors lost, %d torn, %d names lost, %d of all kept",
		losses, sum.acked, sum.lost, sum.changed, sum.again, sum.found, lost.Sectors, lost.Torn, lost.Names, lost.Kept)
	if sum.lost+sum.changed > 0 || sum.acked == 0 || sum.found == 0 || lost.Sectors+lost.Torn == 0 {
		t.Errorf("%+v, seed %d", sum, seed)
	}
}

// The same test finds a queue out that does not sync.
func TestPowerLossFindsMissingSyncs(t *testing.T) {
	for _, bug := range []string{"no sync of the log", "no sync of names"} {
		t.Run(bug, func(t *testing.T) {
			r := rand.New(rand.NewPCG(rand.Uint64(), 0))
			d := lossyfs.NewDisk()
			for n := range 50 {
				if o, _ := losePower(t, d, r, bug); o.lost+o.changed > 0 {
					t.Logf("found after %d losses: %d of %d acknowledged messages lost", n+1, o.lost, o.acked)
					return
				}
			}
			t.Error("no message was lost")
		})
	}
}

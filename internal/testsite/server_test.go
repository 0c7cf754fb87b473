package testsite

import (
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestStartTellsOfEarlyEnd(t *testing.T) {
	addrs, err := Ports(1)
	if err != nil {
		t.Fatal(err)
	}
	_, err = StartCommand(exec.Command("false"), io.Discard, addrs...)
	if err == nil || !strings.Contains(err.Error(), "ended before it listened") {
		t.Errorf("error %v, want one that says it ended", err)
	}
}

func TestStopEndsAndKillEnds(t *testing.T) {
	for name, end := range map[string]func(*Server) error{
		"terminated": func(s *Server) error { return s.Stop(time.Minute) },
		"killed":     func(s *Server) error { s.Kill(); return s.err },
	} {
		t.Run(name, func(t *testing.T) {
			s, err := StartCommand(exec.Command("sleep", "60"), io.Discard)
			if err != nil {
				t.Fatal(err)
			}
			if err := end(s); err == nil || !strings.Contains(err.Error(), "signal: "+name) {
				t.Errorf("ended with %v, want signal: %s", err, name)
			}
		})
	}
}

func TestPortsDiffer(t *testing.T) {
	addrs, err := Ports(3)
	if err != nil {
		t.Fatal(err)
	}
	if addrs[0] == addrs[1] || addrs[1] == addrs[2] || addrs[0] == addrs[2] {
		t.Errorf("the same port twice: %v", addrs)
	}
}

//go:build linux

package systemd

import (
	"fmt"
	"os/exec"
	"strings"
)

// network is a bridge in the test's own network namespace. The test is on it too, under an address of its own, and what it
// sends and gets is never cut.
type network struct{}

const (
	bridge   = "br0"
	subnet   = "10.77.0."
	ownPlace = 254
)

func newNetwork() (*network, error) {
	err := ip(
		"link set lo up",
		"link add "+bridge+" type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
		fmt.Sprintf("addr add %s%d/24 dev %s", subnet, ownPlace, bridge),
		"link set "+bridge+" up",
	)
	if err != nil {
		return nil, err
	}
	return &network{}, nft(`table bridge lab {
		set cut { type ifname . ifname; }
		chain forward { type filter hook forward priority 0; policy accept; iifname . oifname @cut counter drop; }
	}`)
}

// join makes a network namespace of that name with one cable to the bridge.
func (n *network) join(name string, place int) error {
	port := portOf(name)
	return ip(
		"netns add "+name,
		"link add eth0 netns "+name+" type veth peer name "+port,
		"link set "+port+" master "+bridge+" up",
		"-n "+name+" link set lo up",
		fmt.Sprintf("-n %s addr add %s%d/24 dev eth0", name, subnet, place),
		"-n "+name+" link set eth0 up",
	)
}

// cutOff parts one host from others, in both directions and at once.
func (n *network) cutOff(name string, others ...string) error {
	var pairs []string
	for _, other := range others {
		pairs = append(pairs, fmt.Sprintf("%[1]s . %[2]s, %[2]s . %[1]s", portOf(name), portOf(other)))
	}
	return nft("add element bridge lab cut { " + strings.Join(pairs, ", ") + " }")
}

func (n *network) heal() error { return nft("flush set bridge lab cut") }

func portOf(name string) string { return "to-" + name }

func ip(commands ...string) error {
	for _, c := range commands {
		if out, err := exec.Command("ip", strings.Fields(c)...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w: %s", c, err, out)
		}
	}
	return nil
}

func nft(rules string) error {
	cmd := exec.Command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(rules)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("nft: %w: %s", err, out)
	}
	return nil
}

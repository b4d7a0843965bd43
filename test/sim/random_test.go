package sim

import (
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// dice are the random choices of a test.
type dice struct{ *rand.Rand }

// random gives dice from a seed and says it.
func random(t *testing.T, seed uint64) dice {
	t.Helper()
	t.Logf("seed %d", seed)
	return dice{rand.New(rand.NewPCG(seed, seed))}
}

// Duration is between 0 and most.
func (d dice) Duration(most time.Duration) time.Duration { return time.Duration(d.Int64N(int64(most))) }

// minutes is how many virtual minutes a long test takes: SIM_MINUTES, else usual.
func minutes(usual int) int { return setting("SIM_MINUTES", usual) }

func setting(name string, usual int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil && n > 0 {
		return n
	}
	return usual
}

// size is what a node's dir holds, bytes.
func (n *simNode) size() (total int64) {
	_ = filepath.WalkDir(n.dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err == nil {
			total += info.Size()
		}
		return err
	})
	return total
}

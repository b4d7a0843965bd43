package stage

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
)

// Ports come from blocks of 400 below the range that kernels use for outgoing connections. One stage holds one block by a
// lock on a file, which the kernel frees when the process dies. Node i of a block listens on i, i+100, i+200 and i+300,
// the daemon's own scheme; instances of Redis take the upper half of each hundred.
const (
	firstBlock = 20000
	blockSize  = 400
	blocks     = 30
	nodePorts  = 50
)

// block is a range of ports that no other stage of this user hands out.
type block struct {
	lock *os.File
	base int

	mu    sync.Mutex
	nodes int
	redis int
}

// reserveBlock takes a free block, beginning at a random one.
func reserveBlock() (*block, error) {
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("sentineld-ports-%d", os.Getuid()))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("reserve ports: %w", err)
	}
	start := rand.IntN(blocks)
	for i := range blocks {
		base := firstBlock + (start+i)%blocks*blockSize
		if base <= 26700 && base+blockSize > 26379 {
			continue // the usual ports of Sentinels and sentineld stay free for those
		}
		f, err := os.OpenFile(filepath.Join(dir, strconv.Itoa(base)), os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, fmt.Errorf("reserve ports: %w", err)
		}
		if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			return &block{lock: f, base: base}, nil
		}
		_ = f.Close()
	}
	return nil, fmt.Errorf("reserve ports: %w: all %d blocks from %d on are taken", errNoPorts, blocks, firstBlock)
}

func (b *block) release() { _ = b.lock.Close() }

// node gives a port such that it and those 100, 200 and 300 above are free.
func (b *block) node() (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for ; b.nodes < nodePorts; b.nodes++ {
		p := b.base + b.nodes
		if free(p) && free(p+100) && free(p+200) && free(p+300) {
			b.nodes++
			return p, nil
		}
	}
	return 0, fmt.Errorf("port of a node: %w in %d to %d", errNoPorts, b.base, b.base+nodePorts-1)
}

// single gives one free port.
func (b *block) single() (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for ; b.redis < 4*nodePorts; b.redis++ {
		p := b.base + b.redis/nodePorts*100 + nodePorts + b.redis%nodePorts
		if free(p) {
			b.redis++
			return p, nil
		}
	}
	return 0, fmt.Errorf("port of a server: %w from %d to %d", errNoPorts, b.base, b.base+blockSize-1)
}

func free(port int) bool {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return false
	}
	return l.Close() == nil
}

seq 1000 | sort -rn | head -n 3 | tr '\n' ' ' > out; grep -q '1000 999 998' out
diff <(echo a) <(echo a)
mkfifo pipe; (echo through > pipe &) ; read -r word < pipe; [ "$word" = through ]
coproc cat; echo co >&"${COPROC[1]}"; read -r word <&"${COPROC[0]}"; [ "$word" = co ]
trap 'echo caught > sig' USR1; kill -USR1 $$; [ "$(cat sig)" = caught ]
sleep 30 & kill %1; wait %1 || true
seq 20 | xargs -P 4 -n 1 sh -c 'echo $0 > n.$0'; [ "$(cat n.* | wc -l)" = 20 ]
timeout 1 sleep 0.01; nice -n 5 true; setsid true; ps aux > procs; find /usr -xdev -name bash > found; ulimit -n > limits
(flock -n 9) 9> lock; cp -a /etc/alternatives c; mv c c2; rm -r c2; touch -d 2001-01-01 old; stat old > st; ln -s a b; chmod 600 lock; df > disks; truncate -s 1m big; shred -n 1 big

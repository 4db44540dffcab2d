git config --global user.email a@example.com; git config --global user.name A; git config --global init.defaultBranch main
git init -q p; cd p; for i in $(seq 50); do echo "$i" > "f$i"; done; git add .; git commit -qm one
git checkout -qb side; echo more >> f1; git commit -qam two; git checkout -q main; git merge -q --no-ff -m three side
git worktree add -q ../w side; git stash list; git gc -q; git fsck --strict; git log --oneline --graph
cd ..; git clone -q p c; git -C p bundle create -q ../b main; git clone -q b d -b main; git -C c grep -q 50
(cd c; echo x > new; git stash -qu; git stash pop -q; git bisect start HEAD HEAD~1; git bisect reset)

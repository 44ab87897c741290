"""Of each program runs in steps too few to learn by, which compute and draw all that it can; the first is as short as any."""
NETWORKS = "--quick --steps 2 --test 4 --bound-test 1 --networks "
SHORT_RUNS = {
    "01_chain_rule": [""],
    "02_argmax_gradients": ["--draws 2000"],
    "03_zero_one_loss": ["--quick --epochs 1 --hidden 32 --batch 256"],
    "04_your_own": [""],
    "05_estimators": ["--quick --problem %s --draws 500 --tuning 5" % problem for problem in ["subset", "toy"]],
    "06_temperature": ["--quick --steps 15 --seeds 1 --draws 1000"],
    "07_sort_numbers": ["--n 5 --steps 2 --lists 20 --rule all --rate 1e-6"],
    "08_jigsaw": ["--grid 2 --steps 3 --batch 10"],
    "09_kmeans": ["--problem separated --points 100 --dimensions 5 --steps 3", "--start cube --points 100 --dimensions 5 --steps 3",
                  "--quick --problem digits --steps 3"],
    "10_architecture_search": ["--steps 2 --warm-up 1 --retrain 2 --cells 1 --draws 10 --batch 20 --channels 2"],
    "11_structured_prediction": [NETWORKS + of for of in ["categorical", "binary"]],
    "12_categorical_vae": [NETWORKS + of for of in ["categorical", "binary"]],
    "13_semi_supervised": ["--steps 3 --classes 5,10"],
}

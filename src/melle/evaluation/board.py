def write_board(folder, results, count=3):
    pass
